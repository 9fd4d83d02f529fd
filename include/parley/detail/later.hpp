// SPDX-License-Identifier: MIT
// Types that a compiler looks into only when they are needed.
#pragma once

namespace parley {
inline namespace v1 {
namespace detail {

template <class T, class...>
struct seen_later {
    using type = T;
};

/// T. In a template over `Unknown...` the compiler cannot know that before it has the arguments, so
/// who includes the template and never uses it does not pay for T: a result<…> of one more class
/// costs as much as a small header.
template <class T, class... Unknown>
using later = typename seen_later<T, Unknown...>::type;

}  // namespace detail
}  // namespace v1
}  // namespace parley
