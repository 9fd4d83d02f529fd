// SPDX-License-Identifier: MIT
// One TLS connection, as a pair of calls like send(2) and recv(2) that never wait.
#pragma once

#include <parley/transport/tcp_socket.hpp>
#include <parley/transport/tls_words.hpp>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The handshake happens in the first calls that read or write. A receiver's end takes what is
/// there in one call, whatever records it holds: what it did not hand out yet is no news to poll,
/// but has_pending() tells. A sender's end leaves what it does not read in the kernel.
///
/// An end of the bytes without TLS's own goodbye (close_notify) may be the work of somebody on the
/// way, so it is ECONNRESET; an end with it is 0.
class tls_channel {
public:
    tls_channel() = default;
    tls_channel(const tls_context& context, tls_context::role as, unique_fd fd,
                const std::string& host, std::string name)
        : core_(std::make_unique<core>()) {
        core& c = *core_;
        c.fd = std::move(fd);
        c.wanted = std::move(name);
        c.protocol = context.wants_protocol();
        c.ssl.reset(SSL_new(context.get()));
        BIO* const bio = c.ssl && method() != nullptr ? BIO_new(method()) : nullptr;
        if (bio == nullptr) {
            c.fail({errc::out_of_resources, "there is no memory for a TLS connection"});
            return;
        }
        BIO_set_data(bio, &c);
        BIO_set_init(bio, 1);
        SSL_set_bio(c.ssl.get(), bio, bio);
        SSL_set_app_data(c.ssl.get(), &c);
        SSL_set_info_callback(c.ssl.get(), &tls_channel::hear);
        if (context.verifies()) {
            SSL_set_verify(c.ssl.get(), SSL_get_verify_mode(c.ssl.get()), &tls_channel::judge);
        }
        if (as == tls_context::role::receiver) {
            SSL_set_accept_state(c.ssl.get());
            SSL_set_read_ahead(c.ssl.get(), 1);
            // The answer of a handshake, with its certificates, is to fit in whole: a hub waits for
            // bytes to come only.
            const int room = 128 * 1024;
            (void)::setsockopt(get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        } else {
            SSL_set_connect_state(c.ssl.get());
            expect(context, host);
        }
    }
    tls_channel(tls_channel&&) noexcept = default;
    tls_channel& operator=(tls_channel&& other) noexcept {
        if (this != &other) {
            reset();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~tls_channel() { reset(); }

    [[nodiscard]] int get() const noexcept { return core_ ? core_->fd.get() : -1; }
    /// What poll is to wait for after EAGAIN.
    [[nodiscard]] short awaits() const noexcept { return core_->awaits; }
    /// As recv, also with flags 0: 0 at the end, -1 with errno.
    ssize_t read(std::byte* to, std::size_t n, int flags = MSG_DONTWAIT) noexcept {
        std::size_t got = 0;
        core_->flags = flags;
        const auto r = work([&](SSL* s) { return SSL_read_ex(s, to, n, &got); }, got);
        core_->flags = MSG_DONTWAIT;
        return r;
    }
    /// Something of the other side's lies here: a part of a record, or more.
    [[nodiscard]] bool has_pending() const noexcept {
        return SSL_has_pending(core_->ssl.get()) == 1;
    }
    /// As send, at most a record of 16 KiB; after EAGAIN to be called with the same bytes first.
    ssize_t write(const std::byte* from, std::size_t n) noexcept {
        std::size_t sent = 0;
        return work([&](SSL* s) { return SSL_write_ex(s, from, n, &sent); }, sent);
    }
    /// Why TLS failed, if it did.
    [[nodiscard]] error_code failure(diagnostics& why) const {
        if (!core_ || core_->failed == errc{}) return {};
        return why.fail(core_->failed, core_->words);
    }
    /// Says goodbye, without waiting, in the process that made the connection, and closes.
    void reset() noexcept {
        if (!core_) return;
        core& c = *core_;
        if (c.fd && c.ready && c.failed == errc{} && c.owner == ::getpid()) {
            ERR_clear_error();
            (void)SSL_shutdown(c.ssl.get());
            ERR_clear_error();
        }
        c.fd.reset();
    }

private:
    struct core {
        /// The first reason is the one.
        void fail(std::pair<errc, std::string> reason) noexcept {
            if (failed != errc{}) return;
            failed = reason.first;
            words = std::move(reason.second);
            over = true;
        }

        unique_fd fd;
        std::unique_ptr<SSL, freed_by<SSL_free>> ssl;
        std::string wanted;  // the name that the other side's certificate is to bear
        std::string words;
        errc failed{};
        int number = 0;  // errno of the last call that failed for good
        pid_t owner = ::getpid();
        short awaits = POLLOUT;
        short blocked = 0;         // what the socket was not ready for in this call
        int flags = MSG_DONTWAIT;  // of what reads
        bool over = false;         // nothing more can be read or written
        bool at_end = false;
        bool goodbye = false;   // the other side said it
        bool ready = false;     // the handshake is done
        bool protocol = false;  // one is to be agreed upon
    };

    void expect(const tls_context& context, const std::string& host) {
        core& c = *core_;
        in6_addr number{};
        const bool numeric = ::inet_pton(AF_INET, host.c_str(), &number) == 1 ||
                             ::inet_pton(AF_INET6, host.c_str(), &number) == 1;
        if (!numeric && !host.empty()) SSL_set_tlsext_host_name(c.ssl.get(), host.c_str());
        if (!context.verifies()) return;
        const bool set =
            ::inet_pton(AF_INET, c.wanted.c_str(), &number) == 1 ||
                    ::inet_pton(AF_INET6, c.wanted.c_str(), &number) == 1
                ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c.ssl.get()), c.wanted.c_str()) == 1
                : SSL_set1_host(c.ssl.get(), c.wanted.c_str()) == 1;
        if (!set || c.wanted.empty()) {
            c.fail({errc::invalid_argument, "'" + c.wanted +
                                                "' is no name that a certificate could bear: give "
                                                "the receiver's with ?name="});
        }
    }

    template <class Call>
    ssize_t work(Call call, const std::size_t& done) noexcept {
        core& c = *core_;
        if (c.over) return errno = ECONNRESET, -1;
        c.blocked = 0;
        if (!c.ready) {
            ERR_clear_error();
            if (const int r = SSL_do_handshake(c.ssl.get()); r != 1) return stopped();
            if (!agreed()) return -1;
            c.ready = true;
        }
        if (const int r = call(c.ssl.get()); r != 1) return stopped();
        c.awaits = POLLOUT;
        return static_cast<ssize_t>(done);
    }
    /// Hears of each certificate of the other side's what OpenSSL thinks of it.
    static int judge(int good, X509_STORE_CTX* about) noexcept {
        if (good == 1) return 1;
        auto* ssl = static_cast<SSL*>(
            X509_STORE_CTX_get_ex_data(about, SSL_get_ex_data_X509_STORE_CTX_idx()));
        auto& c = *static_cast<core*>(SSL_get_app_data(ssl));
        X509* const shown = X509_STORE_CTX_get_current_cert(about);
        const int verdict = X509_STORE_CTX_get_error(about);
        c.fail({errc::denied, shown != nullptr
                                  ? certificate_words(shown, verdict, c.wanted)
                                  : std::string("its certificate is not to be trusted: ") +
                                        X509_verify_cert_error_string(verdict)});
        return 0;
    }
    [[nodiscard]] bool agreed() noexcept {
        core& c = *core_;
        const unsigned char* chosen = nullptr;
        unsigned n = 0;
        SSL_get0_alpn_selected(c.ssl.get(), &chosen, &n);
        if (!c.protocol || n > 0) return true;
        c.fail({errc::incompatible,
                "the other side agrees on none of the protocols that ?alpn= names here: it names "
                "none"});
        errno = ECONNRESET;
        return false;
    }
    /// Hears of alerts.
    static void hear(const SSL* ssl, int what, int alert) noexcept {
        if ((what & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT) return;
        if ((alert & 0xff) != SSL_AD_CLOSE_NOTIFY) return;
        static_cast<core*>(SSL_get_app_data(ssl))->goodbye = true;
    }
    /// SSL_get_error trusts the thread's error queue, which therefore is cleared before a
    /// handshake; to ask it before every message costs more than a message does. From then on what
    /// our side of the BIO saw tells as much, but for a record that cannot be deciphered.
    [[gnu::noinline]] ssize_t stopped() noexcept {
        core& c = *core_;
        const auto said = ERR_peek_last_error();
        const bool refused = !c.ready && said != 0;  // and the alert may have been in vain
        if (c.blocked != 0 && !refused) {
            c.awaits = c.blocked;
            return errno = EAGAIN, -1;
        }
        if (c.number != 0 && !refused) {
            ERR_clear_error();
            return errno = std::exchange(c.number, 0), -1;
        }
        if (c.goodbye) return 0;
        const bool cut_off = c.at_end && ERR_GET_REASON(said) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
        if (said != 0 && !cut_off) c.fail(tls_failure());
        ERR_clear_error();
        c.over = true;
        return errno = ECONNRESET, -1;
    }

    // --- OpenSSL's way to the socket: never waits, raises no SIGPIPE -----------------------------

    [[nodiscard]] static core& of(BIO* b) noexcept { return *static_cast<core*>(BIO_get_data(b)); }
    static int bio_read(BIO* b, char* to, int n) noexcept {
        core& c = of(b);
        BIO_clear_retry_flags(b);
        const auto got =
            retried([&] { return ::recv(c.fd.get(), to, static_cast<std::size_t>(n), c.flags); });
        c.at_end = got == 0;
        if (got >= 0) return static_cast<int>(got);
        if (errno == EAGAIN) {
            BIO_set_retry_read(b);
            c.blocked = POLLIN;
        } else {
            c.number = errno;
        }
        return static_cast<int>(got);
    }
    static int bio_write(BIO* b, const char* from, int n) noexcept {
        core& c = of(b);
        BIO_clear_retry_flags(b);
        const auto sent = retried([&] {
            return ::send(c.fd.get(), from, static_cast<std::size_t>(n),
                          MSG_DONTWAIT | MSG_NOSIGNAL);
        });
        if (sent >= 0) return static_cast<int>(sent);
        if (errno == EAGAIN) {
            BIO_set_retry_write(b);
            c.blocked = POLLOUT;
        } else {
            c.number = errno;
        }
        return static_cast<int>(sent);
    }
    static long bio_control(BIO* b, int what, long, void*) noexcept {
        if (what == BIO_CTRL_EOF) return of(b).at_end ? 1 : 0;
        return what == BIO_CTRL_FLUSH ? 1 : 0;
    }
    [[nodiscard]] static BIO_METHOD* method() {
        // Never freed: a connection may outlive all static objects.
        static BIO_METHOD* const one = [] {
            BIO_METHOD* const m =
                BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "parley");
            if (m != nullptr) {
                BIO_meth_set_read(m, &tls_channel::bio_read);
                BIO_meth_set_write(m, &tls_channel::bio_write);
                BIO_meth_set_ctrl(m, &tls_channel::bio_control);
            }
            return m;
        }();
        return one;
    }

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
