// SPDX-License-Identifier: MIT
// Chunks that are held and taken back: see explore.hpp for what this program does.
#include "explore/chunks_world.hpp"
#include "explore/explore.hpp"

using namespace parley_test;
using enum explorer::life;
using enum parley::shm_layout::giving_way;

int main(int argc, char** argv) {
    using world = chunks_world;
    constexpr exploration_plan plain{.asymmetric = false};
    constexpr exploration_plan plain_0{.asymmetric = false, .interruptions = 0};
    constexpr exploration_plan plain_1{.asymmetric = false, .interruptions = 1};
    constexpr exploration_plan plain_2{.asymmetric = false, .interruptions = 2};
    constexpr exploration_plan fences_2{.interruptions = 2};
    constexpr exploration_plan one_dies_0{.deaths = 1, .asymmetric = false, .interruptions = 0};
    constexpr exploration_plan one_dies_1{.deaths = 1, .asymmetric = false, .interruptions = 1};
    constexpr world::variation one{.messages = 2, .chunks = 1};
    constexpr world::variation oldest{.rule = drop_oldest, .messages = 3};
    constexpr world::variation one_oldest{.rule = drop_oldest, .messages = 2, .chunks = 1};
    constexpr auto with = [](world::variation v, auto change) {
        change(v);
        return v;
    };
    constexpr auto keeps = [](auto& v) { v.keeps = true; };
    constexpr auto late = [](auto& v) { v.before = v.late = 1; };
    constexpr auto two = [](auto& v) { v.subscribers = 2; };
    constexpr auto dies = [](auto& v) { v.first_subscriber = mortal; };
    constexpr auto heir = [](auto& v) { v.heir = true, v.publisher = mortal; };
    constexpr world::variation one_only{.messages = 1, .chunks = 1};
    explore_all worlds({
        {"block: one chunk", plain, world_of<world>(one), true},
        {"block: one chunk, interrupted", plain_2, world_of<world>(one)},
        {"block: one chunk, fences", fences_2, world_of<world>(one)},
        {"block: two chunks", plain, world_of<world>({}), true},
        {"block: one is kept", plain_2, world_of<world>(with({}, keeps))},
        {"block: late", plain_2, world_of<world>(with({}, late))},
        {"block: two subscribers", plain_0, world_of<world>(with(one, two))},
        {"block: two subscribers, interrupted", plain_1, world_of<world>(with(one, two)), true},
        {"block: the subscriber dies", one_dies_1, world_of<world>(with(one, dies))},
        {"block: the publisher dies and has an heir", one_dies_1,
         world_of<world>(with(one_only, heir))},
        {"drop_newest: one chunk", plain_2,
         world_of<world>({.rule = drop_newest, .messages = 3, .chunks = 1})},
        {"drop_oldest: one chunk", plain, world_of<world>(one_oldest), true},
        {"drop_oldest: one chunk, interrupted", plain_2, world_of<world>(one_oldest)},
        {"drop_oldest: one chunk, fences", fences_2, world_of<world>(one_oldest)},
        {"drop_oldest: two chunks", plain_2, world_of<world>(oldest)},
        {"drop_oldest: one is kept", plain_1, world_of<world>(with(oldest, keeps))},
        {"drop_oldest: late", plain_2, world_of<world>(with(one_oldest, late))},
        {"drop_oldest: two subscribers", plain_0, world_of<world>(with(one_oldest, two))},
        {"drop_oldest: two subscribers, interrupted", plain_1,
         world_of<world>(with(one_oldest, two)), true},
        {"drop_oldest: the subscriber dies", one_dies_1, world_of<world>(with(one_oldest, dies))},
        {"drop_oldest: the publisher dies and has an heir", one_dies_0,
         world_of<world>(with(one_oldest, heir))},
        {"drop_oldest: the same, interrupted", one_dies_1, world_of<world>(with(one_oldest, heir)),
         true},
        {"latest_only", plain_1, world_of<world>({.rule = latest_only})},
    });
    return worlds.main(argc, argv);
}
