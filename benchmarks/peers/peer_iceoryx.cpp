// SPDX-License-Identifier: MIT
// iceoryx, polling: a queue of 256 chunks (16 of 1 MiB), the publisher waits when it is full. Its
// daemon, iox-roudi, has to run.
#include "peer.hpp"

#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

namespace {

struct iceoryx {
    static void join() {
        static const bool once = [] {
            const std::string me = "peer" + std::to_string(::getpid());
            iox::runtime::PoshRuntime::initRuntime(
                iox::RuntimeName_t(iox::cxx::TruncateToCapacity, me));
            return true;
        }();
        (void)once;
    }
    static iox::capro::ServiceDescription service(const peers::route& way) {
        return {"peers", "way", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, way.name)};
    }
    static std::uint64_t depth(const peers::route& way) {
        return way.bytes >= (1 << 20) ? 16 : 256;
    }
    struct sender {
        explicit sender(const peers::route& way) {
            join();
            iox::popo::PublisherOptions o;
            o.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
            end = std::make_unique<iox::popo::UntypedPublisher>(service(way), o);
            while (!end->hasSubscribers()) ::usleep(100);
        }
        void send(const std::byte* m, std::size_t n) {
            end->loan(static_cast<std::uint32_t>(n))
                .and_then([&](void* to) {
                    std::memcpy(to, m, n);
                    end->publish(to);
                })
                .or_else([](auto&) { peers::failed("loan"); });
        }
        std::unique_ptr<iox::popo::UntypedPublisher> end;
    };
    struct receiver {
        explicit receiver(const peers::route& way) {
            join();
            iox::popo::SubscriberOptions o;
            o.queueCapacity = depth(way);
            o.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
            end = std::make_unique<iox::popo::UntypedSubscriber>(service(way), o);
        }
        void receive(std::byte* m, std::size_t n) {
            for (bool got = false; !got;) {
                end->take().and_then([&](const void* from) {
                    std::memcpy(m, from, n);
                    end->release(from);
                    got = true;
                });
            }
        }
        std::unique_ptr<iox::popo::UntypedSubscriber> end;
    };
};

}  // namespace

int main(int argc, char** argv) { return peers::peer_main<iceoryx>(argc, argv); }
