// SPDX-License-Identifier: MIT
// The one main of all test binaries; the body of Catch2 2 is compiled here and nowhere else.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
