// SPDX-License-Identifier: MIT
// The protocols of a topic: see explore.hpp for what this program does.
#include "explore/broadcast_world.hpp"
#include "explore/explore.hpp"

using namespace parley_test;
using enum explorer::life;
using enum parley::shm_layout::giving_way;

int main(int argc, char** argv) {
    using world = broadcast_world;
    constexpr exploration_plan plain{.asymmetric = false};
    constexpr exploration_plan fences{};
    constexpr exploration_plan fences_2{.interruptions = 2};
    constexpr exploration_plan one_dies{.deaths = 1, .asymmetric = false};
    constexpr exploration_plan plain_1{.asymmetric = false, .interruptions = 1};
    constexpr exploration_plan plain_2{.asymmetric = false, .interruptions = 2};
    constexpr exploration_plan plain_0{.asymmetric = false, .interruptions = 0};
    constexpr exploration_plan one_dies_1{.deaths = 1, .asymmetric = false, .interruptions = 1};
    // Sixteen messages go around such a ring, and the next one overwrites the first.
    constexpr world::variation lapped{
        .rule = drop_oldest, .before = 14, .messages = 17, .capacity = 1024, .alignment = 64};
    constexpr auto with = [](world::variation v, auto change) {
        change(v);
        return v;
    };
    const auto twice = with(lapped, [](auto& v) {
        v.before = 10;
        v.messages = 19;
    });
    const auto two_words = with(lapped, [](auto& v) { v.bytes = 16; });
    const auto latest = with(lapped, [](auto& v) {
        v.rule = latest_only;
        v.messages = 16;
    });
    const auto dying = with(lapped, [](auto& v) { v.publisher = mortal; });
    const auto inherited = with(dying, [](auto& v) { v.heir = true; });
    explore_all worlds({
        {"block: two messages", plain, world_of<world>({})},
        {"block: two messages, fences", fences, world_of<world>({})},
        {"block: little room", plain, world_of<world>({.messages = 2, .capacity = 32})},
        {"block: little room, fences", fences, world_of<world>({.messages = 2, .capacity = 32})},
        {"block: by descriptors", plain, world_of<world>({.messages = 1, .polls = true})},
        {"block: late", plain, world_of<world>({.messages = 2, .late = 1})},
        {"block: late, little room", plain,
         world_of<world>({.messages = 2, .capacity = 32, .late = 1})},
        {"block: late, all the room taken", plain_2,
         world_of<world>({.before = 2, .messages = 4, .capacity = 32, .late = 1})},
        {"block: two subscribers", plain_0,
         world_of<world>({.messages = 2, .capacity = 32, .subscribers = 2})},
        {"block: two subscribers, one late", plain_0,
         world_of<world>({.messages = 2, .capacity = 32, .subscribers = 2, .late = 1})},
        {"block: two sleepers", plain_1, world_of<world>({.messages = 1, .subscribers = 2})},
        {"block: the subscriber dies", one_dies,
         world_of<world>({.messages = 2, .capacity = 32, .first_subscriber = mortal})},
        {"block: a dead subscriber has a successor", plain_2,
         world_of<world>(
             {.before = 1, .messages = 4, .capacity = 32, .late = 1, .succession = true})},
        {"block: the publisher dies", one_dies,
         world_of<world>({.messages = 2, .publisher = mortal})},
        {"block: the publisher dies and has an heir", one_dies_1,
         world_of<world>({.messages = 2, .heir = true, .publisher = mortal})},
        {"drop_newest: little room", plain,
         world_of<world>({.rule = drop_newest, .messages = 3, .capacity = 32})},
        {"drop_oldest: lapped", plain_2, world_of<world>(lapped)},
        {"drop_oldest: lapped, fences", fences_2, world_of<world>(lapped)},
        {"drop_oldest: two words", plain_2, world_of<world>(two_words)},
        {"drop_oldest: lapped twice", plain_0, world_of<world>(twice), true},
        {"drop_oldest: the publisher dies", one_dies_1, world_of<world>(dying)},
        {"drop_oldest: the publisher dies and has an heir", one_dies_1, world_of<world>(inherited),
         true},
        {"latest_only", plain_1, world_of<world>(latest)},
    });
    return worlds.main(argc, argv);
}
