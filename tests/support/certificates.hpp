// SPDX-License-Identifier: MIT
// Authorities and certificates, made by the openssl command when a test needs them; no key is ever
// kept.
#pragma once

#include "support/unique.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace parley_test {

/// `certificates c; c.authority("ca"); c.issue("desk", "ca", "DNS:localhost");` makes ca.pem,
/// desk.pem and desk.key in a directory of its own.
class certificates {
public:
    [[nodiscard]] std::string operator/(const std::string& file) const { return dir_ / file; }

    /// Signs itself: an authority, or a certificate that nobody vouches for.
    void authority(const std::string& name, const std::string& names = "DNS:nobody.invalid") {
        run("openssl req -x509 " + fresh_key(name) + " -out " + path(name + ".pem") +
            " -days 30 -subj '/CN=" + name + "' -addext 'subjectAltName=" + names + "'");
    }
    /// For the hosts in `names`, from that authority, valid between the two times.
    void issue(const std::string& name, const std::string& by, const std::string& names,
               const std::string& from = "20200101000000Z",
               const std::string& to = "20990101000000Z") {
        run("openssl req " + fresh_key(name) + " -out " + path(name + ".csr") +
            " -subj '/CN=" + name + "'");
        const std::string here = path("ca-" + name);
        run("mkdir " + here + " && : >" + here + "/index");
        std::ofstream(here + "/config")
            << "[ca]\ndefault_ca=d\n[d]\ndatabase=" << here << "/index\nnew_certs_dir=" << here
            << "\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
               "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\n"
               "subjectAltName="
            << names << '\n';
        run("openssl ca -batch -notext -config " + here + "/config -cert " + path(by + ".pem") +
            " -keyfile " + path(by + ".key") + " -in " + path(name + ".csr") + " -out " +
            path(name + ".pem") + " -startdate " + from + " -enddate " + to);
    }

    /// What the tests of every backend use: a receiver at the loopback addresses.
    [[nodiscard]] static const certificates& usual();

private:
    struct usual_ones;

    [[nodiscard]] std::string path(const std::string& file) const { return dir_ / file; }
    [[nodiscard]] std::string fresh_key(const std::string& name) const {
        return "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout " +
               path(name + ".key");
    }
    void run(const std::string& command) const {
        const std::string said = path("said");
        if (std::system(("{ " + command + "; } >" + said + " 2>&1 </dev/null").c_str()) == 0)
            return;
        std::ifstream file(said);
        throw std::runtime_error(command + ":\n" +
                                 std::string(std::istreambuf_iterator<char>(file), {}));
    }

    temporary_directory dir_;
};

struct certificates::usual_ones : certificates {
    usual_ones() {
        authority("ca");
        issue("desk", "ca", "DNS:localhost,IP:127.0.0.1,IP:::1");
        issue("sender", "ca", "DNS:sender.example");
    }
};
inline const certificates& certificates::usual() {
    static const usual_ones made;
    return made;
}

}  // namespace parley_test
