// SPDX-License-Identifier: MIT
// Code of an application, run where nothing may leave it but a result.
#pragma once

#include <parley/base/error.hpp>

#include <exception>
#include <new>
#include <system_error>

namespace parley {
inline namespace v1 {
namespace rpc {

/// An error in place of an R, whatever R is: an error_code converts to a result<bool> as a bool.
template <class R>
[[nodiscard]] result<R> failed(error_code ec) {
    return result<R>(boost::system::in_place_error, ec);
}
/// Runs it; an exception becomes `fail(error, words)`, which is an error_code.
template <class R, class Run, class Fail>
[[nodiscard]] result<R> guarded(Run run, Fail fail) {
    try {
        return run();
    } catch (const boost::system::system_error& e) {
        return failed<R>(fail(e.code(), e.what()));
    } catch (const std::system_error& e) {
        const bool generic = e.code().category() == std::generic_category();
        const error_code ec(e.code().value(), generic ? boost::system::generic_category()
                                                      : boost::system::system_category());
        return failed<R>(fail(ec, e.what()));
    } catch (const std::bad_alloc&) {
        return failed<R>(fail(errc::out_of_resources, "no memory"));
    } catch (const std::exception& e) {
        return failed<R>(fail(errc::unsupported, e.what()));
    } catch (...) {
        return failed<R>(fail(errc::unsupported, "an exception that is no std::exception"));
    }
}

}  // namespace rpc
}  // namespace v1
}  // namespace parley
