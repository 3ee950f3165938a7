#include "connect/proxy_status.h"

namespace proxyvpn::connect {

std::string_view refusal_reason(int status) noexcept {
  switch (status) {
    case 101:
      return "the proxy switched to another protocol without being asked";
    case 400:
      return "the proxy calls the CONNECT request a bad one; it may be no proxy but a web server, "
             "or want TLS";
    case 401:
      return "the proxy refuses the credentials (401, as tinyproxy says it, in place of 407)";
    case 403:
      return "the proxy forbids connections to this target";
    case 404:
      return "the proxy does not know the target, or a web server answers in its place (404)";
    case 405:
    case 501:
      return "the server at the proxy's address does not know CONNECT; it may be a web server";
    case 408:
      return "the proxy says that the request took too long";
    case 429:
      return "the proxy says that there are too many requests";
    case 451:
      return "the proxy may not connect to this target for legal reasons";
    case 500:
      return "the proxy failed with an error of its own";
    case 502:
      return "the proxy could not connect to the target";
    case 503:
      return "the proxy could not reach the target, or is overloaded";
    case 504:
      return "the target did not answer the proxy in time";
    case 511:
      return "the network wants a login page to be visited first (511)";
    default:
      break;
  }
  if (status >= 300 && status < 400) {
    return "the proxy answered CONNECT with a redirection; it may be a web server or a login page";
  }
  if (status >= 400 && status < 500) return "the proxy refuses the request";
  return "the proxy failed to serve the request";
}

}  // namespace proxyvpn::connect
