// SPDX-License-Identifier: MIT
// What a forked child must not keep. Descriptors and locks say to the kernel "I live"; a child that
// inherits them and sleeps would say so for a parent that died. So every end that a process uses is
// listed here, and the first thing a forked child does is to close its copies.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

/// Something to drop in a forked child. Its address must not change while it is listed.
/// Thread safety: distinct objects may be listed and unlisted from any thread.
class fork_sensitive {
public:
    fork_sensitive() = default;
    fork_sensitive(const fork_sensitive&) = delete;
    fork_sensitive& operator=(const fork_sensitive&) = delete;

    /// From now on a forked child calls in_forked_child(). Once is enough.
    void guard_against_fork() noexcept {
        if (listed_) return;
        registry& all = registry::instance();
        ::pthread_mutex_lock(&all.mutex);
        next_ = all.first;
        if (next_ != nullptr) next_->previous_ = this;
        all.first = this;
        listed_ = true;
        ::pthread_mutex_unlock(&all.mutex);
    }
    /// How often this process was forked or is a fork, so far.
    [[nodiscard]] static std::uint64_t forks() noexcept {
        // Another thread may fork at this moment, of which this one learns now or later.
        return registry::instance().forks.load(std::memory_order_relaxed);
    }

protected:
    virtual ~fork_sensitive() { unguard(); }

    /// To be called by the destructor of the derived class, before anything is torn down.
    void unguard() noexcept {
        if (!listed_) return;
        registry& all = registry::instance();
        ::pthread_mutex_lock(&all.mutex);
        if (previous_ != nullptr) previous_->next_ = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
        if (all.first == this) all.first = next_;
        listed_ = false;
        previous_ = next_ = nullptr;
        ::pthread_mutex_unlock(&all.mutex);
    }

    /// Runs in the child of a fork: close descriptors, nothing that allocates or locks.
    virtual void in_forked_child() noexcept = 0;

private:
    struct registry {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        fork_sensitive* first = nullptr;
        std::atomic<std::uint64_t> forks = 0;

        static registry& instance() noexcept {
            static registry& one = made();
            return one;
        }
        static registry& made() noexcept {
            static registry one;
            ::pthread_atfork(before, after_in_parent, after_in_child);
            return one;
        }
        // The lock is held across the fork, so that the child sees a whole list.
        static void before() { ::pthread_mutex_lock(&instance().mutex); }
        static void after_in_parent() {
            ++instance().forks;
            ::pthread_mutex_unlock(&instance().mutex);
        }
        static void after_in_child() {
            registry& all = instance();
            ++all.forks;
            for (auto* p = all.first; p != nullptr; p = p->next_) p->in_forked_child();
            ::pthread_mutex_unlock(&all.mutex);
        }
    };

    fork_sensitive* previous_ = nullptr;
    fork_sensitive* next_ = nullptr;
    bool listed_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
