// SPDX-License-Identifier: MIT
// Catch2 of Debian 12 (2.13) and Catch2 3 under the same words. Tests include this and nothing of
// Catch2 itself.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#define PARLEY_TEST_CATCH_3 1
#else
#include <catch2/catch.hpp>
#define PARLEY_TEST_CATCH_3 0
#endif

#include <boost/system/result.hpp>

#include <string>

namespace parley_test {

/// CHECK_THAT(text, contains("words")): the matcher has another name in each version.
inline auto contains(const std::string& words) {
#if PARLEY_TEST_CATCH_3
    return Catch::Matchers::ContainsSubstring(words);
#else
    return Catch::Matchers::Contains(words);
#endif
}

}  // namespace parley_test

/// A result in an assertion prints its error, or that it has a value: not every value prints.
template <class T>
struct Catch::StringMaker<boost::system::result<T>> {
    static std::string convert(const boost::system::result<T>& r) {
        return r ? "a value" : "error: " + r.error().message();
    }
};
