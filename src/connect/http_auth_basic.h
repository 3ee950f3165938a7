#pragma once
// Basic authentication (RFC 7617).
#include "base/secret.h"
#include "connect/http_connect.h"

namespace proxyvpn::connect {

// "Basic " and the base64 of "username:password", both as the UTF-8 they were given in.
// The credentials have passed check_credentials().
Secret basic_authorization(const Credentials& credentials);

}  // namespace proxyvpn::connect
