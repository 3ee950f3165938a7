#pragma once
// --password-file.
#include <string>

#include "base/error.h"
#include "base/secret.h"

namespace proxyvpn::app {

struct PasswordFile {
  Secret password;
  std::string warning;  // a sentence when the file can be read by everybody, else empty
};

// The content of `path` without one trailing newline ("\n" or "\r\n"). "-" is standard input; on a
// terminal the user is asked and the echo is off. At most 4,096 bytes on one line: a longer file, a
// second line, or a NUL is an error, as no such password can be sent (RFC 7617 section 2).
// The content never appears in an error text.
Result<PasswordFile> read_password_file(const std::string& path);

// The last step of it, for tests and for passwords from elsewhere: what a user may give as a
// password. `source` names where it came from.
Result<Secret> checked_password(std::string text, const std::string& source);

}  // namespace proxyvpn::app
