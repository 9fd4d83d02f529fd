// SPDX-License-Identifier: MIT
// Whom a receiver lets in.
#pragma once

#include <parley/base/peer.hpp>
#include <parley/detail/owner.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// An allow whose names were looked up.
struct known_allow {
    std::vector<uid_t> users = {};
    std::vector<gid_t> groups = {};
    bool (*when)(const peer_id&) = nullptr;

    [[nodiscard]] static result<known_allow> of(const allow& a, diagnostics& why) {
        known_allow k{{}, {}, a.when};
        for (const auto& text : a.users) {
            const auto id = user_id(text, why);
            if (!id) return id.error();
            k.users.push_back(*id);
        }
        for (const auto& text : a.groups) {
            const auto id = group_id(text, why);
            if (!id) return id.error();
            k.groups.push_back(*id);
        }
        return k;
    }
    [[nodiscard]] bool everybody() const noexcept {
        return users.empty() && groups.empty() && when == nullptr;
    }
    /// `socket` is connected to the peer, or -1: then its other groups are not known.
    [[nodiscard]] bool admits(const peer_id& who, int socket = -1) const {
        const auto has = [](const auto& list, auto id) {
            return std::find(list.begin(), list.end(), id) != list.end();
        };
        if (everybody() || has(users, who.uid) || has(groups, who.gid)) return true;
        if (when != nullptr && when(who)) return true;
        if (socket < 0 || groups.empty()) return false;
        std::vector<gid_t> theirs(64);
        auto n = static_cast<socklen_t>(theirs.size() * sizeof(gid_t));
        int failed = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, theirs.data(), &n);
        if (failed != 0 && errno == ERANGE) {
            theirs.resize(n / sizeof(gid_t));
            failed = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, theirs.data(), &n);
        }
        theirs.resize(failed == 0 ? n / sizeof(gid_t) : 0);
        return std::any_of(theirs.begin(), theirs.end(), [&](gid_t g) { return has(groups, g); });
    }
};

/// Reads and writes the options of an allow in a URI.
template <class Reader>
void read_allow(Reader& r, allow& out) {
    const auto list = [&](const char* key, std::vector<std::string>& to) {
        const std::string* text = r.option(key);
        for (std::size_t at = 0; text != nullptr && at <= text->size();) {
            const auto end = std::min(text->find(',', at), text->size());
            to.push_back(text->substr(at, end - at));
            if (to.back().empty())
                r.fail_option(key, "wants names or numbers, with commas between");
            at = end + 1;
        }
    };
    list("allow_users", out.users);
    list("allow_groups", out.groups);
}
template <class Writer>
void write_allow(Writer& w, const allow& a) {
    const auto list = [&](const char* key, const std::vector<std::string>& from) {
        std::string text;
        for (const auto& one : from) (text += text.empty() ? "" : ",") += one;
        if (!text.empty()) w.option(key, text);
    };
    list("allow_users", a.users);
    list("allow_groups", a.groups);
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
