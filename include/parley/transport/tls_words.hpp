// SPDX-License-Identifier: MIT
// Why a TLS connection failed, in words, with the remedy.
#pragma once

#include <parley/transport/tls_context.hpp>

#include <openssl/x509v3.h>

#include <arpa/inet.h>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The names that a certificate is for, "a.example, 192.0.2.1".
[[nodiscard]] inline std::string names_of(X509* certificate) {
    std::string all;
    const auto add = [&](const char* text, std::size_t n) {
        if (!all.empty()) all += ", ";
        for (const char c : std::string_view(text, n)) all += c >= ' ' && c <= '~' ? c : '?';
    };
    const std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* one = sk_GENERAL_NAME_value(names.get(), i);
        if (one->type == GEN_DNS) {
            add(reinterpret_cast<const char*>(ASN1_STRING_get0_data(one->d.dNSName)),
                static_cast<std::size_t>(ASN1_STRING_length(one->d.dNSName)));
        } else if (one->type == GEN_IPADD) {
            char text[INET6_ADDRSTRLEN] = "?";
            const int n = ASN1_STRING_length(one->d.iPAddress);
            if (n == 4 || n == 16) {
                ::inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(one->d.iPAddress),
                            text, sizeof text);
            }
            add(text, std::char_traits<char>::length(text));
        }
    }
    return all.empty() ? "no host" : all;
}

/// "CN = x, O = y".
[[nodiscard]] inline std::string name_text(const X509_NAME* name) {
    const std::unique_ptr<BIO, freed_by<BIO_free_all>> out(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_ONELINE);
    char* text = nullptr;
    const long n = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(n)};
}
[[nodiscard]] inline std::string time_text(const ASN1_TIME* time) {
    const std::unique_ptr<BIO, freed_by<BIO_free_all>> out(BIO_new(BIO_s_mem()));
    ASN1_TIME_print(out.get(), time);
    char* text = nullptr;
    const long n = BIO_get_mem_data(out.get(), &text);
    return {text, static_cast<std::size_t>(n)};
}

/// What is wrong with a certificate of the other side's. `wanted`: the name it is to bear.
[[nodiscard]] inline std::string certificate_words(X509* shown, int verdict,
                                                   const std::string& wanted) {
    const std::string whose = "its certificate (" + name_text(X509_get_subject_name(shown)) + ")";
    const std::string issuer = name_text(X509_get_issuer_name(shown));
    switch (verdict) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return whose + " has expired (" + time_text(X509_get0_notAfter(shown)) +
                   "): have it renewed, unless the clock here is wrong (`date`)";
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return whose + " is not valid before " + time_text(X509_get0_notBefore(shown)) +
                   ": is the clock here, or that of its authority, wrong (`date`)?";
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return whose + " is for " + names_of(shown) + ", not for '" + wanted +
                   "': address it by a name that stands there, say ?name= with one, or have the "
                   "certificate made for this name";
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return whose +
                   " is self-signed, and it is not among those trusted here: give it to "
                   "this side as ?ca= if it is the right one";
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return whose + " was issued by an authority that is not known here (" + issuer +
                   "): give that one's certificate to this side as ?ca=";
        default: return whose + " is not to be trusted: " + X509_verify_cert_error_string(verdict);
    }
}

/// What the other side says of ours in an alert, or of this connection.
[[nodiscard]] inline std::pair<errc, std::string> alert_words(int alert) {
    const std::string ours = "the other side refuses this side's certificate: ";
    switch (alert) {
        case SSL3_AD_CERTIFICATE_EXPIRED: return {errc::denied, ours + "it expired; renew it"};
        case TLS1_AD_UNKNOWN_CA:
            return {errc::denied, ours +
                                      "its authority is not known there; let the other side "
                                      "have it as ?ca=, or take a certificate (?cert=, ?key=) "
                                      "of an authority that it knows"};
        case TLS13_AD_CERTIFICATE_REQUIRED:
            return {errc::denied,
                    "the other side wants a certificate of this one, which has none: "
                    "give ?cert= and ?key="};
        case SSL3_AD_BAD_CERTIFICATE:
        case SSL3_AD_UNSUPPORTED_CERTIFICATE:
        case SSL3_AD_CERTIFICATE_REVOKED:
        case SSL3_AD_CERTIFICATE_UNKNOWN:
        case TLS1_AD_ACCESS_DENIED:
            return {errc::denied,
                    ours + SSL_alert_desc_string_long(alert) + " (its own diagnostics say more)"};
        case SSL3_AD_HANDSHAKE_FAILURE:
            return {errc::denied,
                    "the other side and this one find no common ground: it wants a "
                    "certificate (?cert=, ?key=) perhaps, or other ciphers"};
        case TLS1_AD_PROTOCOL_VERSION:
            return {errc::incompatible, "the other side speaks no TLS 1.2 or later"};
        case TLS1_AD_NO_APPLICATION_PROTOCOL:
            return {errc::incompatible,
                    "the other side has none of the protocols that ?alpn= "
                    "names here"};
        default:
            return {errc::peer_lost,
                    std::string("the other side ended TLS: ") + SSL_alert_desc_string_long(alert)};
    }
}

/// Why a call of OpenSSL failed for good, from its queue of errors.
[[nodiscard]] inline std::pair<errc, std::string> tls_failure() {
    const int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
        return alert_words(reason - SSL_AD_REASON_OFFSET);
    }
    switch (reason) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return {errc::denied, "it shows no certificate: give it one with ?cert= and ?key="};
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return {errc::incompatible, "it has none of the protocols that ?alpn= names here"};
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW: return {errc::incompatible, "it speaks no TLS 1.2 or later"};
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
        case SSL_R_UNEXPECTED_MESSAGE:
        case SSL_R_BAD_PACKET_LENGTH:
        case SSL_R_RECORD_LENGTH_MISMATCH:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
            return {errc::corrupt,
                    "what came is no TLS (" + openssl_words() + "): is it tcp:// there?"};
        default: return {errc::corrupt, "TLS failed: " + openssl_words()};
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
