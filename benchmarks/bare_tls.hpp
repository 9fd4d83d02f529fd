// SPDX-License-Identifier: MIT
// TLS by hand: SSL_write and SSL_read over the two ends of a TCP connection. And the certificate
// that this and parley::tls are given.
#pragma once

#include "bare.hpp"
#include "bare_files.hpp"

#include <parley/tls.hpp>

#include <openssl/ssl.h>

#include <cstdlib>
#include <string>

namespace bare {

/// One that vouches for itself, for 127.0.0.1; the openssl command makes it.
class certificate {
public:
    [[nodiscard]] static const certificate& usual() {
        static const certificate made;
        return made;
    }
    [[nodiscard]] parley::tls::options options() const {
        return {.ca = cert, .cert = cert, .key = key};
    }

private:
    certificate() {
        const std::string command =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-subj /CN=bench -addext subjectAltName=IP:127.0.0.1 >/dev/null 2>&1 -keyout " +
            key + " -out " + cert;
        if (std::system(command.c_str()) != 0) std::abort();
    }
    directory in_;

public:
    const std::string cert = in_ / "bench.pem", key = in_ / "bench.key";
};

/// A connection whose handshake is done, and blocking calls.
template <class Message>
class tls_connection {
public:
    tls_connection() {
        int fd[2];
        if (connect_tcp(fd) != 0) std::abort();
        const auto& own = certificate::usual();
        SSL_CTX* const server = SSL_CTX_new(TLS_server_method());
        SSL_CTX* const client = SSL_CTX_new(TLS_client_method());
        if (SSL_CTX_use_certificate_file(server, own.cert.c_str(), SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_use_PrivateKey_file(server, own.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_load_verify_file(client, own.cert.c_str()) != 1) {
            std::abort();
        }
        SSL_CTX_set_verify(client, SSL_VERIFY_PEER, nullptr);
        in_ = over(server, fd[0]);
        out_ = over(client, fd[1]);
        SSL_set_accept_state(in_);
        SSL_set_connect_state(out_);
        for (const int one : fd) ::fcntl(one, F_SETFL, O_NONBLOCK);
        for (bool done = false; !done;) {
            const int there = SSL_do_handshake(out_), here = SSL_do_handshake(in_);
            done = there == 1 && here == 1;
        }
        for (const int one : fd) ::fcntl(one, F_SETFL, 0);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
    tls_connection(const tls_connection&) = delete;
    tls_connection& operator=(const tls_connection&) = delete;
    ~tls_connection() {
        for (SSL* one : {in_, out_}) {
            const int fd = SSL_get_fd(one);
            SSL_free(one);
            ::close(fd);
        }
    }

    void send(const Message& v) {
        const auto* at = reinterpret_cast<const std::byte*>(&v);
        for (std::size_t left = sizeof v, n = 0; left > 0; left -= n, at += n) {
            if (SSL_write_ex(out_, at, left, &n) != 1) std::abort();
        }
    }
    void receive(Message& v) {
        auto* at = reinterpret_cast<std::byte*>(&v);
        for (std::size_t left = sizeof v, n = 0; left > 0; left -= n, at += n) {
            if (SSL_read_ex(in_, at, left, &n) != 1) std::abort();
        }
    }

private:
    static SSL* over(SSL_CTX* context, int fd) {
        SSL* const made = SSL_new(context);
        if (made == nullptr || SSL_set_fd(made, fd) != 1) std::abort();
        return made;
    }

    SSL* in_;
    SSL* out_;
};

}  // namespace bare
