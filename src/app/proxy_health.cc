#include "app/proxy_health.h"

#include <cerrno>
#include <cstring>

namespace proxyvpn::app {
namespace {

std::string describe_connect(int sys_errno) {
  switch (sys_errno) {
    case 0:
    case ETIMEDOUT:
      return "does not answer";
    case ECONNREFUSED:
      return "refuses connections";
    case ECONNRESET:
      return "resets connections";
    case ENETUNREACH:
    case EHOSTUNREACH:
      return "cannot be reached: there is no route to it";
    case ENETDOWN:
      return "cannot be reached: the network is down";
    default:
      return std::string("cannot be reached: ") + ::strerror(sys_errno);
  }
}

}  // namespace

std::string describe(const ProxyLost& message, bool has_credentials) {
  switch (message.trouble) {
    case Trouble::Unreachable:
      return describe_connect(message.sys_errno);
    case Trouble::Authentication:
      return has_credentials ? "does not accept the user name and password (407)"
                             : "wants a user name and a password (407), and none were given";
    case Trouble::NotHttp:
      return "answers, but not as an HTTP proxy";
    case Trouble::Closed:
      return "closes connections before it answers";
    case Trouble::Slow:
      return "accepts connections but does not answer in time";
    case Trouble::Loop:
      return "is reached only through this tunnel itself: a proxy on this machine needs "
             "--exempt-user with the user that it runs as";
  }
  return "does not work";
}

std::string describe(Duration time) {
  const auto ms = std::chrono::duration_cast<milliseconds>(time).count();
  if (ms < 10'000) return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s";
  const auto s = ms / 1000;
  if (s < 120) return std::to_string(s) + " s";
  return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
}

std::optional<std::string> ProxyHealth::lost(unsigned worker, const ProxyLost& message,
                                             TimePoint now) {
  const bool known = is_lost();
  lost_in_.insert(worker);
  std::string trouble = describe(message, has_credentials_);
  if (known && trouble == trouble_) return std::nullopt;
  if (!known) since_ = now;
  const bool another = known;
  trouble_ = std::move(trouble);
  if (another) return "proxy still lost: " + proxy_ + " now " + trouble_;
  return "proxy lost: " + proxy_ + " " + trouble_ + "; " +
         (killswitch_ ? "the machine stays shut, new connections fail at once; retrying"
                      : "new connections fail at once; retrying");
}

std::optional<std::string> ProxyHealth::back(unsigned worker, TimePoint now) {
  if (lost_in_.erase(worker) == 0 || is_lost()) return std::nullopt;
  trouble_.clear();
  return "proxy back: " + proxy_ + " answers again after " + describe(now - since_);
}

void ProxyHealth::forget(unsigned worker) {
  lost_in_.erase(worker);
  if (lost_in_.empty()) trouble_.clear();
}

}  // namespace proxyvpn::app
