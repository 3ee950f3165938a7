#include "connect/proxy_health.h"

#include <algorithm>
#include <utility>

namespace proxyvpn::connect {

bool ProxyHealth::worked() noexcept {
  strikes_ = 0;
  return std::exchange(trouble_, Trouble::None) != Trouble::None;
}

bool ProxyHealth::connected() noexcept {
  if (trouble_ != Trouble::Unreachable) return false;
  return worked();
}

bool ProxyHealth::failed(Trouble trouble, TimePoint now) noexcept {
  if (lost()) {
    // The trouble may have become another one: the person was told already, the retries go on.
    trouble_ = trouble;
    back_off(now);
    return false;
  }
  const bool certain = trouble == Trouble::Unreachable || trouble == Trouble::Authentication ||
                       trouble == Trouble::Loop;
  if (!certain && ++strikes_ < kStrikes) return false;
  trouble_ = trouble;
  delay_ = trouble == Trouble::Authentication ? kFirstAuthenticationRetry : kFirstRetry;
  retry_at_ = now + delay_;
  return true;
}

bool ProxyHealth::take_retry(TimePoint now) noexcept {
  if (now < retry_at_) return false;
  back_off(now);
  return true;
}

void ProxyHealth::back_off(TimePoint now) noexcept {
  const bool authentication = trouble_ == Trouble::Authentication;
  const Duration least = authentication ? kFirstAuthenticationRetry : kFirstRetry;
  const Duration most = authentication ? kLastAuthenticationRetry : kLastRetry;
  delay_ = std::clamp(delay_ * 2, least, most);
  retry_at_ = now + delay_;
}

}  // namespace proxyvpn::connect
