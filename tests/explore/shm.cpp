// SPDX-License-Identifier: MIT
// The protocols of shared memory: see explore.hpp for what this program does.
#include "explore/explore.hpp"
#include "explore/lane_world.hpp"
#include "explore/registry_world.hpp"
#include "explore/succession_world.hpp"

using namespace parley_test;
using enum explorer::life;

namespace {

// Without asymmetric fences each publication is seq_cst; with them it is only while nobody is
// in a rush.
constexpr exploration_plan plain{.asymmetric = false};
constexpr exploration_plan one_dies{.deaths = 1, .asymmetric = false};
constexpr exploration_plan nervous{.early_wakes = 1, .asymmetric = false};
constexpr exploration_plan fences{};
constexpr exploration_plan fences_and_death{.deaths = 1};
// Two writers and a reader have too many interleavings for all of them.
constexpr exploration_plan one_dies_0{.deaths = 1, .asymmetric = false, .interruptions = 0};
constexpr exploration_plan one_dies_1{.deaths = 1, .asymmetric = false, .interruptions = 1};
constexpr exploration_plan one_dies_2{.deaths = 1, .asymmetric = false, .interruptions = 2};
constexpr exploration_plan plain_1{.asymmetric = false, .interruptions = 1};
constexpr exploration_plan plain_2{.asymmetric = false, .interruptions = 2};
constexpr exploration_plan two_die{.deaths = 2, .asymmetric = false};

}  // namespace

int main(int argc, char** argv) {
    using lane = lane_world;
    using registry = registry_world;
    using hand = hand_world;
    using succession = succession_world;
    explore_all worlds({
        {"lane: one at a time", plain, world_of<lane>({.messages = 2, .capacity = 32})},
        {"lane: one at a time, loans", plain,
         world_of<lane>({.messages = 2, .capacity = 32, .loans = true})},
        {"lane: three, of two lengths", plain, world_of<lane>({})},
        {"lane: three in batches", plain, world_of<lane>({.batches = true})},
        {"lane: two, futexes that return early", nervous,
         world_of<lane>({.messages = 2, .capacity = 32})},
        {"lane: two, by descriptors", plain,
         world_of<lane>({.messages = 2, .capacity = 32, .polls = true})},
        {"lane: the writer dies", one_dies,
         world_of<lane>({.messages = 2, .capacity = 32, .writer = mortal})},
        {"lane: the reader dies", one_dies,
         world_of<lane>({.messages = 2, .capacity = 32, .reader = mortal})},
        {"lane: both in a rush", fences, world_of<lane>({.messages = 2, .rush = true})},
        {"lane: both in a rush, little room", fences,
         world_of<lane>({.messages = 2, .capacity = 32, .rush = true}), true},
        {"lane: three, little room", plain, world_of<lane>({.capacity = 32}), true},
        {"lane: three, loans", plain, world_of<lane>({.loans = true}), true},
        {"lane: three in a rush, little room", fences,
         world_of<lane>({.capacity = 32, .rush = true}), true},
        {"lane: the writer dies in a rush", fences_and_death,
         world_of<lane>({.messages = 2, .capacity = 32, .rush = true, .writer = mortal}), true},
        {"lane: the reader dies in a rush", fences_and_death,
         world_of<lane>({.messages = 2, .capacity = 32, .rush = true, .reader = mortal}), true},
        {"hand: copies, and again", two_die, world_of<hand>({})},
        {"hand: views, then copies", two_die, world_of<hand>({.first = hand::hand::views})},
        {"hand: two views, then batches", two_die,
         world_of<hand>({hand::hand::two_views, hand::hand::batches})},
        {"hand: batches, then views", two_die,
         world_of<hand>({hand::hand::batches, hand::hand::views})},
        {"hand: views the last one first", two_die,
         world_of<hand>({hand::hand::reversed_views, hand::hand::reversed_views})},
        {"succession: one lane", one_dies_1, world_of<succession>({.messages = 2})},
        {"succession: two lanes", one_dies_0, world_of<succession>({.lanes = 2, .messages = 1})},
        {"succession: one lane, 2", one_dies_2, world_of<succession>({.messages = 2}), true},
        {"succession: two lanes, 1", one_dies_1, world_of<succession>({.lanes = 2, .messages = 1}),
         true},
        {"registry: one lane, the first dies", one_dies_1,
         world_of<registry>({.lanes = 1, .first = mortal})},
        {"registry: one lane for two", plain_2, world_of<registry>({.lanes = 1, .messages = 0})},
        {"registry: two lanes", plain_1, world_of<registry>({.lanes = 2})},
        {"registry: one lane for two, messages", plain_2, world_of<registry>({.lanes = 1}), true},
        {"registry: two lanes, the first dies", one_dies_1,
         world_of<registry>({.lanes = 2, .first = mortal}), true},
        {"registry: one lane, the first dies, 2", one_dies_2,
         world_of<registry>({.lanes = 1, .first = mortal}), true},
        {"registry: two lanes, 2", plain_2, world_of<registry>({.lanes = 2}), true},
        {"registry: one lane for two, all", plain, world_of<registry>({.lanes = 1, .messages = 0}),
         true},
    });
    return worlds.main(argc, argv);
}
