#pragma once
// Errors as values. A Result is either a T or an Error that a person can act on.
#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace proxyvpn {

enum class Code {
  InvalidArgument,  // what the user gave cannot be used
  NotFound,         // the thing that was asked for is not there
  Exists,           // something else already has this name, id or place
  Permission,       // the system refused because of who we are
  Unsupported,      // this kernel or machine does not have the feature
  Busy,             // somebody else uses it now
  Timeout,          // no answer in time
  Protocol,         // the peer said something that its protocol does not allow
  System,           // any other system call failure; `sys_errno` tells
};

struct Error {
  Code code = Code::System;
  int sys_errno = 0;    // 0 when no system call was involved
  std::string message;  // one sentence: what was tried, with which value, what was answered
};

template <class T = void>
using Result = tl::expected<T, Error>;

// A failure that no system call reported.
[[nodiscard]] tl::unexpected<Error> fail(Code code, std::string message);

// A failed system call: the message becomes "<what>: <strerror(err)>", the code follows from err
// (EPERM/EACCES Permission, ENOENT/ENODEV NotFound, EEXIST Exists, EBUSY Busy, ENOSYS/EOPNOTSUPP
// Unsupported, EINVAL InvalidArgument, ETIMEDOUT Timeout, else System). `err` is positive.
[[nodiscard]] tl::unexpected<Error> fail_errno(int err, std::string what);

// The same error with what the caller was doing in front: "<doing>: <message>".
[[nodiscard]] tl::unexpected<Error> wrap(Error error, std::string_view doing);

}  // namespace proxyvpn
