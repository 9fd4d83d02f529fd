// SPDX-License-Identifier: MIT
// Shared memory: writers, readers and creators are killed after their k-th write to shared memory
// or their k-th system call, for k = 1 until they come to their end, and at random. Who survives
// goes on, and nothing stays behind.
#include <parley/base/random.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/killing_atomics.hpp"
#include "support/process.hpp"
#include "support/resources.hpp"
#include "support/traced.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cstdio>
#include <optional>
#include <string>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::result;
using parley::shm;

namespace {

namespace detail = parley::detail;
using killed_sink = detail::lane_sink<killing_atomics>;
using killed_source = detail::lane_source<killing_atomics>;

/// How the ends of one round work. Each has its own shared writes.
struct manner {
    const char* name;
    std::size_t length;  // of each third message; a ring holds two of 1500
    bool copies;         // without a loan or a view
    bool polls;          // the survivor waits for its descriptor
    parley::waiting wait = parley::waiting::park;
};
constexpr manner manners[] = {
    {"short copies", 20, true, false},
    {"long copies", 1500, true, true},
    {"short loans", 20, false, true},
    {"long loans", 1500, false, false},
    {"long copies, spinning", 1500, true, false, parley::waiting::spin_then_park},
};
/// Those of readers that have successors: messages of one length are taken three at a time.
constexpr manner batches = {"batches", 12, true, false};
constexpr std::uint64_t count = 8;

shm place(const std::string& name, const manner& m) {
    return shm(name, {.capacity_bytes = 4096, .writers_max = 2, .wait = m.wait});
}
std::string text_of(const manner& m, char sender, std::uint64_t i) {
    std::string s = sender + std::to_string(i) + ' ';
    s.resize(i % 3 == 0 ? m.length : 12, static_cast<char>('a' + i % 26));
    return s;
}

killed_sink open_killed_sink(const shm& at) {
    diagnostics why;
    const std::string path = "/dev/shm/parley." + at.name;
    const parley::open_request request{text_type, parley::never, &why};
    return detail::opened_by_and_by(request,
                                    [&] {
                                        detail::segment seg;
                                        seg.file.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
                                        seg.adopt(text_type, path, why).value();
                                        return killed_sink::claim(std::move(seg), path, at.to_uri(),
                                                                  {at.with.wait, 50us}, false, why);
                                    })
        .value();
}
killed_source open_killed_source(const shm& at) {
    diagnostics why;
    detail::segment_plan plan;
    detail::plan_segment(plan, at.with.writers_max, at.with.capacity_bytes, text_type, why).value();
    const detail::segment_name name{at.with.directory, at.name};
    detail::segment seg;
    detail::segment_creator(name, plan, why).create(seg, detail::fresh_id()).value();
    return killed_source::own(std::move(seg), {name.path()}, at.to_uri(), {at.with.wait, 50us}, why)
        .value();
}

/// Sends as its manner is. The loan is filled by halves too.
template <class Sink>
result<void> send_in(const manner& m, Sink& out, std::string_view text) {
    if (m.copies) {
        for (;;) {
            const auto r = out.send_from(parley::as_bytes(text), parley::never);
            if (r || r.error() != errc::would_block) return r;
            if (auto w = out.wait(parley::never); !w) return w;
        }
    }
    for (;;) {
        auto l = out.try_loan(text.size());
        if (l) {
            killing_atomics::write(l->bytes().data(), text.data(), text.size());
            if (auto r = out.try_commit(std::move(*l)); !r) return r;
            return out.flush(parley::never);
        }
        if (l.error() != errc::would_block) return l.error();
        if (auto w = out.wait(parley::never); !w) return w;
    }
}

/// Waits as its manner is.
template <class End>
void wait_in(const manner& m, End& end) {
    if (!m.polls) return (void)end.wait(parley::never);
    pollfd fd{end.pollable().value(), POLLIN, 0};
    while (::poll(&fd, 1, -1) < 0 && errno == EINTR) {
    }
}
/// What a receiver heard of two senders and their heirs: whole messages, each sender's in order.
struct heard {
    const manner& how;
    std::uint64_t from[3] = {};  // A: the victim, B: the survivor, C: the heirs
    std::string wrong = {};

    void take(std::string_view text) {
        const std::size_t who = text.empty() ? 3 : static_cast<std::size_t>(text[0] - 'A');
        const bool good = who == 2 || (who < 2 && text == text_of(how, text[0], from[who]));
        if (!good)
            wrong = "after " + std::to_string(who < 3 ? from[who] : 0) + ": " + std::string(text);
        if (who < 3) ++from[who];
    }
    /// Takes what is there, then waits a little. False: all senders are gone, for now.
    template <class Source>
    bool look(Source& in) {
        for (;;) {
            auto v = in.try_receive();
            if (v) {
                take(parley::as_text(v->bytes()));
                continue;
            }
            if (v.error() == errc::closed || v.error() == errc::peer_lost) return false;
            if (v.error() != errc::would_block) wrong = in.why().text();
            break;
        }
        if (how.polls) {
            pollfd fd{in.pollable().value(), POLLIN, 0};
            (void)::poll(&fd, 1, 5);
        } else {
            (void)in.wait(parley::clock::now() + 5ms);
        }
        return true;
    }
};

/// A number that a child writes and its parent reads.
class shared_number {
public:
    shared_number()
        : at_(static_cast<std::uint64_t*>(::mmap(nullptr, sizeof(std::uint64_t),
                                                 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                                 -1, 0))) {}
    shared_number(const shared_number&) = delete;
    shared_number& operator=(const shared_number&) = delete;
    ~shared_number() { ::munmap(at_, sizeof(std::uint64_t)); }
    void add(std::uint64_t n = 1) const noexcept { detail::std_atomics::fetch_add(*at_, n, order); }
    [[nodiscard]] std::uint64_t get() const noexcept {
        return detail::std_atomics::load(*at_, order);
    }

private:
    static constexpr auto order = std::memory_order_seq_cst;
    std::uint64_t* at_;
};

/// Passes the time until some moment nobody chose, and kills.
void kill_at_some_moment(child& c, parley::random& r, std::uint64_t most_us) {
    const auto until = parley::clock::now() + std::chrono::microseconds(r.below(most_us));
    while (parley::clock::now() < until) {
    }
    ::kill(c.pid(), SIGKILL);
}

/// One of two writers dies after its k-th write (k = 0: at some moment). The reader hears all of
/// the other one and what the victim committed; then both lanes have new writers.
/// True: the victim was killed.
template <class Source>
bool kill_a_writer(Source& in, const shm& at, const manner& m, std::uint64_t k, parley::random& r) {
    const shared_number committed;
    const auto write_all = [&](auto out, char who) {
        for (std::uint64_t i = 0; i < count; ++i) {
            if (!send_in(m, out, text_of(m, who, i))) return 3;
            if (who == 'A') committed.add();
        }
        return out.close(parley::never) ? 0 : 4;
    };
    child victim([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        killing_atomics::kill_after(k);
        return write_all(open_killed_sink(at), 'A');
    });
    child survivor([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        return write_all(sink_at(at), 'B');
    });
    heard all{m};
    if (k == 0) kill_at_some_moment(victim, r, 2000);
    while (all.from[1] < count || !victim.is_over() || !survivor.is_over()) (void)all.look(in);
    child heirs([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto one = sink_at(at), two = sink_at(at);
        return send(one, "C") && send(two, "C") ? 0 : 3;
    });
    while (all.look(in) || all.from[2] < 2) {
    }
    INFO(m.name << ", k = " << k << ": " << all.wrong);
    REQUIRE(all.wrong.empty());
    REQUIRE(survivor.wait() == 0);
    REQUIRE(heirs.wait() == 0);
    const int end = victim.wait();
    REQUIRE((end == 0 || end == 128 + SIGKILL));
    REQUIRE(all.from[0] >= committed.get());
    REQUIRE(all.from[0] <= committed.get() + 1);
    return end != 0;
}

/// The reader dies after its k-th write (k = 0: at some moment). Its writer goes on until it is
/// told, and knows how many of its messages were never taken; then the name has a new reader.
bool kill_a_reader(const shm& at, const manner& m, std::uint64_t k, parley::random& r) {
    const shared_number opened, taken;
    child victim([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        killing_atomics::kill_after(k);
        auto in = open_killed_source(at);
        opened.add();
        for (std::uint64_t i = 0; i < count;) {
            std::string room(text_of(m, 'A', i).size(), '\0');
            const parley::mutable_bytes into(reinterpret_cast<std::byte*>(room.data()),
                                             room.size());
            bool came = false;
            if (m.copies) {
                const auto placed = in.receive_into(into, parley::never);
                came = placed && *placed == parley::placement::placed;
            }
            if (!came) {
                const auto v = in.try_receive();
                if (v) room = parley::as_text(v->bytes());
                if (!v && v.error() != errc::would_block) return 3;
                if (!v) wait_in(m, in);
                came = static_cast<bool>(v);
            }
            if (!came) continue;
            if (room != text_of(m, 'A', i)) return 4;
            taken.add();
            ++i;
        }
        return in.close(parley::never) ? 0 : 5;
    });
    if (k == 0) kill_at_some_moment(victim, r, 2000);
    while (opened.get() == 0 && !victim.is_over()) {
    }
    if (opened.get() != 0) {
        diagnostics why;
        auto out = open_sink(at, why, parley::clock::now() + 1ms);
        std::uint64_t sent = 0;
        for (; out; ++sent) {
            const auto told = send_in(m, *out, text_of(m, 'A', sent));
            if (told) continue;
            INFO(m.name << ", k = " << k << ": " << out->why().text());
            REQUIRE((told.error() == errc::peer_lost || told.error() == errc::closed));
            // The last one may be committed although it is told to nobody, and the last one taken
            // may have been the end of who should have said so.
            const auto unread = out->undelivered();
            REQUIRE(taken.get() + unread <= sent + 1);
            REQUIRE(taken.get() + unread + 1 >= sent);
            REQUIRE(out->close(parley::never));
            break;
        }
    }
    const int end = victim.wait();
    INFO(m.name << ", k = " << k << ": " << end);
    REQUIRE((end == 0 || end == 128 + SIGKILL));
    auto in = source_at(at);
    auto out = sink_at(at);
    REQUIRE(send(out, "next"));
    REQUIRE(receive(in).value() == "next");
    REQUIRE(in.close(parley::never));
    REQUIRE(leftovers(at.name).empty());
    return end != 0;
}

/// The file under the name; 0: there is none.
ino_t inode_of(const shm& at) {
    struct stat s {};
    return ::stat(at.file().path().c_str(), &s) == 0 ? s.st_ino : 0;
}

/// What three readers, of which two are killed, and two writers know of each other.
struct succession {
    shared_number handed, lost, file, sent[2], told[2], unread[2], writers, writers_over;

    /// Sends all, or says how many nobody received.
    int write(const shm& at, const manner& m, std::size_t who) const {
        auto out = sink_at(at);
        writers.add();
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto r = send_in(m, out, text_of(m, static_cast<char>('A' + who), i));
            if (r) {
                sent[who].add();
                continue;
            }
            if (r.error() != errc::peer_lost) return 3;
            told[who].add();
            unread[who].add(out.undelivered());
            break;
        }
        const bool good = static_cast<bool>(out.close(parley::never));
        writers_over.add();
        return good ? 0 : 4;
    }
    /// Receives until both writers are gone. Each call's messages are in hand until the next call.
    int read(const shm& at, const manner& m, std::uint64_t dies_after) const {
        killing_atomics::kill_after(dies_after);
        auto in = open_killed_source(at);
        for (;;) {
            std::byte room[3 * 12];
            if (&m == &batches) {
                const auto n = in.receive_many_into({room, sizeof room}, 12);
                handed.add(n);
                if (n != 0) continue;
            } else if (m.copies) {
                const auto placed = in.receive_into({room, 12}, parley::never);
                if (placed && *placed == parley::placement::placed) {
                    handed.add();
                    continue;
                }
            }
            const bool last = writers_over.get() == 2;
            const auto v = in.try_receive();
            if (v) handed.add();
            if (v || v.error() == errc::closed || v.error() == errc::peer_lost) continue;
            if (v.error() != errc::would_block) return 5;
            if (last) {
                lost.add(in.lost());
                file.add(inode_of(at));
                return in.close(parley::never) ? 0 : 6;
            }
            (void)in.wait(parley::clock::now() + 5ms);
        }
    }
};

/// What the last reader received of each: whole messages, one after the other.
struct inheritance {
    const manner& how;
    std::optional<std::uint64_t> first[2] = {};
    std::uint64_t next[2] = {};
    std::string wrong = {};

    void take(std::string_view text) {
        const std::size_t who = text.empty() ? 2 : static_cast<std::size_t>(text[0] - 'A');
        if (who > 1) return void(wrong = "of nobody: " + std::string(text));
        if (!first[who]) next[who] = *(first[who] = static_cast<std::uint64_t>(text[1] - '0'));
        if (text != text_of(how, text[0], next[who]++)) wrong = std::string(text);
    }
};

/// A reader is killed after a few of its writes, its successor after its k-th; then a third one
/// takes what is left. Nothing comes twice, and lost() is what they had in hand.
bool kill_two_readers(const shm& at, const manner& m, std::uint64_t k, parley::random& r) {
    const succession all;
    child one([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        return all.read(at, m, 1 + r.below(16));
    });
    child writers[] = {child([&] {
                           ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                           return all.write(at, m, 0);
                       }),
                       child([&] {
                           ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                           return all.write(at, m, 1);
                       })};
    REQUIRE(one.wait() == 128 + SIGKILL);
    const auto file = inode_of(at);
    child two([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        return all.read(at, m, k);
    });
    if (k == 0) kill_at_some_moment(two, r, 2000);
    const int end = two.wait();
    INFO(m.name << ", k = " << k << ": " << end);
    REQUIRE((end == 0 || end == 128 + SIGKILL));
    // Now and then the writers have time to give up.
    const bool patient = all.writers.get() == 2 && r.below(3) == 0;
    for (auto& w : writers) {
        if (patient) REQUIRE(w.wait() == 0);
    }
    auto in = source_at(at);
    const bool same_file = file != 0 && file == (end == 0 ? all.file.get() : inode_of(at));
    inheritance found{m};
    for (bool more = true; more;) {
        more = !writers[0].is_over() || !writers[1].is_over();
        for (;;) {
            const auto v = in.try_receive();
            if (!v && v.error() == errc::would_block) break;
            if (v) found.take(parley::as_text(v->bytes()));
        }
        if (more) (void)in.wait(parley::clock::now() + 5ms);
    }
    REQUIRE(found.wrong.empty());
    for (auto& w : writers) REQUIRE(w.wait() == 0);
    std::uint64_t least = 0, most = 0;  // handed out to the two
    for (std::size_t who = 0; who < 2; ++who) {
        const bool told = all.told[who].get() != 0;
        REQUIRE((told ? !found.first[who] : !found.first[who] || found.next[who] == count));
        // The last one sent may be committed although that was told to nobody.
        const auto sent = all.sent[who].get(), unread = all.unread[who].get();
        const auto first = found.first[who].value_or(count);
        least += !told ? first : sent > unread ? sent - unread : 0;
        most += !told ? first : sent + 1 - unread;
    }
    // Who ended in good order removed the segment: then the third one has begun anew.
    const auto lost = end == 0 ? all.lost.get() : in.lost();
    INFO("taken " << least << ", handed out " << all.handed.get() << ", lost " << lost);
    REQUIRE(all.handed.get() <= most);
    // When all writers have given up the last one removes the name, and nobody succeeds.
    if (same_file) REQUIRE(all.handed.get() + lost >= least);
    REQUIRE(lost <= (&m == &batches ? 6U : 2U));
    REQUIRE(in.close(parley::never));
    REQUIRE(leftovers(at.name).empty());
    return end != 0;
}

/// Calls round(k, manner) for k = 1… until no manner has a kill left, each k in one manner or, in a
/// campaign, in all of them, and at random until there were `kills`.
template <class Round>
void rounds_of(const char* test, std::uint64_t kills, Round round) {
    const std::uint64_t wanted = campaign() ? 75 * kills : kills;
    const watchdog dog(test, std::chrono::seconds(60 + wanted / 2));
    parley::random r(std::hash<std::string>()(test));
    std::uint64_t killed = 0, all = 0;
    bool more = true;
    round(1, manners[0], r);  // whatever is made once, is made now
    const auto before = resources::now();
    for (std::uint64_t k = 1; more; ++k) {
        more = false;
        for (std::uint64_t i = 0; i < std::size(manners); ++i) {
            if (!campaign() && i != k % std::size(manners)) continue;
            const bool was = round(k, manners[i], r);
            more |= was;
            killed += was;
            ++all;
        }
    }
    while (killed < wanted) killed += round(0, manners[r.below(std::size(manners))], r), ++all;
    CHECK(resources::now() == before);
    std::printf("%s: %llu kills in %llu rounds\n", test, static_cast<unsigned long long>(killed),
                static_cast<unsigned long long>(all));
}

}  // namespace

TEST_CASE("shm: a writer killed after any of its writes leaves whole messages and a free lane") {
    const unique_name name("writers");
    const auto path = name.text();
    rounds_of("shm: killed writers", 80, [&](std::uint64_t k, const manner& m, parley::random& r) {
        auto in = source_at(place(path, m));
        return kill_a_writer(in, place(path, m), m, k, r);
    });
    CHECK(leftovers(path).empty());
}

TEST_CASE("shm: a reader killed after any of its writes leaves a writer that knows, and no name") {
    const unique_name name("readers");
    const auto path = name.text();
    rounds_of("shm: killed readers", 60, [&](std::uint64_t k, const manner& m, parley::random& r) {
        return kill_a_reader(place(path, m), m, k, r);
    });
    CHECK(leftovers(path).empty());
}

TEST_CASE("shm: a killed reader's successor goes on after what was in hand, and knows how much") {
    const unique_name name("heirs");
    rounds_of("shm: killed readers with successors", 60,
              [&](std::uint64_t k, const manner& m, parley::random& r) {
                  return kill_two_readers(place(name.text(), m), m, k, r);
              });
    rounds_of("shm: killed readers of batches", 30,
              [&](std::uint64_t k, const manner&, parley::random& r) {
                  return kill_two_readers(place(name.text(), batches), batches, k, r);
              });
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("shm: whoever is killed after any system call of opening and closing hinders nobody") {
    const unique_name name("calls");
    const auto at = place(name.text(), manners[0]);
    watchdog dog("shm: killed after a call", 300s);
    std::uint64_t kills = 0;
    for (const bool creates : {true, false}) {
        for (std::uint64_t k = 1;; ++k) {
            std::optional<shm::source> in;
            if (!creates) in.emplace(source_at(at));
            const auto end = killed_after_call(k, [&] {
                if (creates) return source_at(at).close(parley::never) ? 0 : 3;
                auto out = sink_at(at);
                return send(out, "A") && out.close(parley::never) ? 0 : 3;
            });
            if (end == traced::untraceable) {
                WARN("skipped: no ptrace(2) here");
                return;
            }
            INFO("k = " << k);
            REQUIRE(end != traced::failed);
            if (creates) in.emplace(source_at(at));
            std::optional<child> next;
            next.emplace([&] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                auto one = sink_at(at), two = sink_at(at);
                return send(one, "C") && send(two, "C") ? 0 : 3;
            });
            heard all{manners[0]};
            while (all.look(*in) || all.from[2] < 2) {
            }
            REQUIRE(next->wait() == 0);
            REQUIRE(leftovers(name.text()).size() == 1);
            REQUIRE(in->close(parley::never));
            REQUIRE(leftovers(name.text()).empty());
            if (end == traced::passed) break;
            ++kills;
        }
    }
    CHECK(kills > 40);
    std::printf("shm: killed after a call: %llu kills\n", static_cast<unsigned long long>(kills));
}
