// SPDX-License-Identifier: MIT
// What both sides of TLS bring: certificates, keys, whom they trust. What may be wrong with the
// files, in words.
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/posix.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <sys/stat.h>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {

/// Whether an end of TLS asks the other side for a certificate, and checks it.
enum class verification : std::uint8_t {
    usual,  ///< a sender does; a receiver if it has a `ca`
    peer,   ///< it does
    none,   ///< it takes anybody: encrypted, but who knows with whom
};

namespace detail {

/// A pointer of OpenSSL's with its own way to be freed.
template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* at) const noexcept {
        Free(at);
    }
};

/// What an address says of who its end is and whom it trusts: see tls::options.
struct tls_identity {
    const std::string &ca, &cert, &key, &alpn;
    verification verify;
};

/// The reason that OpenSSL gave last, in its words.
[[nodiscard]] inline std::string openssl_words() {
    const auto code = ERR_peek_last_error();
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : "error " + std::to_string(code);
}

/// Names of protocols in the form that travels: each behind its length.
[[nodiscard]] inline result<std::string> alpn_wire(const std::string& names, diagnostics& why) {
    std::string wire;
    for (std::size_t at = 0; at < names.size();) {
        const auto comma = std::min(names.find(',', at), names.size());
        const std::size_t n = comma - at;
        if (n == 0 || n > 255 || comma + 1 == names.size()) {
            return why.fail(
                errc::invalid_argument,
                "alpn wants names of 1 to 255 bytes with commas between, not '" + names + "'");
        }
        wire += static_cast<char>(n);
        wire.append(names, at, n);
        at = comma + 1;
    }
    return wire;
}

/// What all connections of one end share.
class tls_context {
public:
    enum class role : std::uint8_t { sender, receiver };

    /// Errors: not_found, denied (files); invalid_argument (what is in them does not fit).
    [[nodiscard]] static result<tls_context> make(const tls_identity& who, role as,
                                                  diagnostics& why) {
        ERR_clear_error();
        tls_context made;
        made.ctx_.reset(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
        if (!made.ctx_) {
            return why.fail(errc::out_of_resources, "starting TLS: " + openssl_words());
        }
        auto wire = alpn_wire(who.alpn, why);
        if (!wire) return wire.error();
        made.alpn_ = std::make_shared<const std::string>(std::move(*wire));
        made.settings(as);
        if (auto r = made.own_certificate(who, as, why); !r) return r.error();
        if (auto r = made.trust(who, as, why); !r) return r.error();
        return made;
    }

    [[nodiscard]] SSL_CTX* get() const noexcept { return ctx_.get(); }
    [[nodiscard]] bool wants_protocol() const noexcept { return alpn_ && !alpn_->empty(); }
    [[nodiscard]] bool verifies() const noexcept { return verifies_; }

private:
    void settings(role as) {
        SSL_CTX* const c = get();
        SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
        // No session is ever resumed, so that no ticket follows the handshake and every connection
        // is checked anew.
        SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(c, 0);
        SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
        SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        // Never ask for a passphrase at the terminal.
        SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return 0; });
        if (!wants_protocol()) return;
        const auto* wire = reinterpret_cast<const unsigned char*>(alpn_->data());
        if (as == role::sender) {
            SSL_CTX_set_alpn_protos(c, wire, static_cast<unsigned>(alpn_->size()));
        } else {
            SSL_CTX_set_alpn_select_cb(c, &tls_context::choose,
                                       const_cast<std::string*>(alpn_.get()));
        }
    }
    static int choose(SSL*, const unsigned char** out, unsigned char* n,
                      const unsigned char* theirs, unsigned theirs_bytes, void* ours) {
        const auto& own = *static_cast<const std::string*>(ours);
        unsigned char* chosen = nullptr;
        const int r =
            SSL_select_next_proto(&chosen, n, reinterpret_cast<const unsigned char*>(own.data()),
                                  static_cast<unsigned>(own.size()), theirs, theirs_bytes);
        *out = chosen;
        return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    result<void> own_certificate(const tls_identity& who, role as, diagnostics& why) {
        if (who.cert.empty() != who.key.empty() || (as == role::receiver && who.cert.empty())) {
            return why.fail(errc::invalid_argument,
                            std::string(as == role::receiver ? "a receiver over TLS needs"
                                                             : "a sender's certificate needs") +
                                " both, ?cert= (its certificate) and ?key= (that one's key)");
        }
        if (who.cert.empty()) return {};
        if (auto r = readable(who.cert, "the certificate", why); !r) return r;
        if (auto r = readable(who.key, "the key", why); !r) return r;
        if (SSL_CTX_use_certificate_chain_file(get(), who.cert.c_str()) != 1) {
            return no_good(who.cert, "a certificate in PEM form (-----BEGIN CERTIFICATE-----)",
                           why);
        }
        if (SSL_CTX_use_PrivateKey_file(get(), who.key.c_str(), SSL_FILETYPE_PEM) != 1) {
            if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH) {
                return mismatch(who, why);
            }
            return no_good(who.key,
                           "a key in PEM form without a passphrase (`openssl pkey -in … -out …` "
                           "takes one off)",
                           why);
        }
        return SSL_CTX_check_private_key(get()) == 1 ? result<void>() : mismatch(who, why);
    }
    result<void> trust(const tls_identity& who, role as, diagnostics& why) {
        verifies_ = who.verify == verification::peer ||
                    (who.verify == verification::usual && (as == role::sender || !who.ca.empty()));
        if (as == role::receiver && verifies_ && who.ca.empty()) {
            return why.fail(errc::invalid_argument,
                            "a receiver that asks its senders for certificates needs ?ca=, the "
                            "authority that signed them");
        }
        SSL_CTX_set_verify(
            get(), verifies_ ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE,
            nullptr);
        if (!verifies_) return {};
        if (who.ca.empty()) {
            SSL_CTX_set_default_verify_paths(get());
            return {};
        }
        if (auto r = readable(who.ca, "the file of authorities", why); !r) return r;
        struct stat s {};
        const bool many = ::stat(who.ca.c_str(), &s) == 0 && S_ISDIR(s.st_mode);
        const int good = many ? SSL_CTX_load_verify_dir(get(), who.ca.c_str())
                              : SSL_CTX_load_verify_file(get(), who.ca.c_str());
        if (good != 1) return no_good(who.ca, "certificates of authorities in PEM form", why);
        if (as == role::receiver && !many) {
            SSL_CTX_set_client_CA_list(get(), SSL_load_client_CA_file(who.ca.c_str()));
        }
        return {};
    }

    [[nodiscard]] static result<void> readable(const std::string& path, const char* what,
                                               diagnostics& why) {
        const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (file) return {};
        const int number = errno;
        return why.fail(from_errno(number),
                        explain(std::string(what) + " " + path, number) +
                            (number == EACCES ? ": this user may not read it (see `ls -l`)" : ""));
    }
    [[nodiscard]] static error_code no_good(const std::string& path, const char* wanted,
                                            diagnostics& why) {
        return why.fail(errc::invalid_argument,
                        path + " holds no " + (wanted + 2) + ": " + openssl_words());
    }
    [[nodiscard]] static error_code mismatch(const tls_identity& who, diagnostics& why) {
        return why.fail(errc::invalid_argument, "the key " + who.key +
                                                    " does not match the certificate " + who.cert +
                                                    ": take the key that it was requested with");
    }

    std::shared_ptr<SSL_CTX> ctx_;
    std::shared_ptr<const std::string> alpn_;  // read by the callback
    bool verifies_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
