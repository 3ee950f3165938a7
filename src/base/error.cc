#include "base/error.h"

#include <cstring>

namespace proxyvpn {
namespace {

Code code_of(int err) {
  switch (err) {
    case EPERM:
    case EACCES:
      return Code::Permission;
    case ENOENT:
    case ENODEV:
    case ESRCH:
      return Code::NotFound;
    case EEXIST:
      return Code::Exists;
    case EBUSY:
      return Code::Busy;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
      return Code::Unsupported;
    case EINVAL:
      return Code::InvalidArgument;
    case ETIMEDOUT:
      return Code::Timeout;
    default:
      return Code::System;
  }
}

}  // namespace

tl::unexpected<Error> fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, 0, std::move(message)});
}

tl::unexpected<Error> fail_errno(int err, std::string what) {
  char buffer[128] = {};
  what += ": ";
  what += ::strerror_r(err, buffer, sizeof buffer);
  return tl::unexpected<Error>(Error{code_of(err), err, std::move(what)});
}

tl::unexpected<Error> wrap(Error error, std::string_view doing) {
  error.message.insert(0, ": ");
  error.message.insert(0, doing);
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace proxyvpn
