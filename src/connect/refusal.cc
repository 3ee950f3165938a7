#include "connect/refusal.h"

namespace proxyvpn::connect {

using stack::Refusal;

Refusal refusal_for_status(int status) noexcept {
  switch (status) {
    // The proxy does not want this: administratively prohibited. Squid and tinyproxy say 403 for a
    // port or a host that their configuration denies.
    case 403:
    case 405:
    case 451:
      return Refusal::Prohibited;
    case 407:
      return Refusal::NetworkUnreachable;
    // Nobody answered the proxy, or the name or the place does not exist.
    case 404:
    case 408:
    case 410:
    case 504:
      return Refusal::HostUnreachable;
    // The proxy tried and was turned away: 502 and 503 by RFC 9110 15.6; 500 is what tinyproxy
    // says.
    case 500:
    case 502:
    case 503:
      return Refusal::Refused;
    default:
      return status >= 500 ? Refusal::Refused : Refusal::Prohibited;
  }
}

Refusal refusal_for_trouble(Trouble trouble) noexcept {
  switch (trouble) {
    case Trouble::Slow:
      return Refusal::HostUnreachable;
    case Trouble::None:
    case Trouble::Unreachable:
    case Trouble::Authentication:
    case Trouble::NotHttp:
    case Trouble::Closed:
    case Trouble::Loop:
      break;
  }
  return Refusal::NetworkUnreachable;
}

}  // namespace proxyvpn::connect
