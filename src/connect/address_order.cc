#include "connect/address_order.h"

#include <algorithm>
#include <bit>

namespace proxyvpn::connect {

std::vector<IpAddress> order_addresses(std::span<const IpAddress> sorted,
                                       std::optional<IpAddress> winner,
                                       std::size_t first_family_count) {
  std::vector<IpAddress> unique;
  for (const IpAddress& address : sorted) {
    if (std::find(unique.begin(), unique.end(), address) == unique.end()) unique.push_back(address);
  }
  if (unique.empty()) return unique;

  Family turn = unique.front().family();
  std::size_t turns_left = std::max<std::size_t>(first_family_count, 1);
  std::vector<IpAddress> ordered;
  ordered.reserve(unique.size());
  if (winner && std::erase(unique, *winner) > 0) {
    ordered.push_back(*winner);
    turn = winner->is_v4() ? Family::V6 : Family::V4;
    turns_left = 1;
  }
  while (!unique.empty()) {
    auto chosen = std::find_if(unique.begin(), unique.end(),
                               [&](const IpAddress& a) { return a.family() == turn; });
    if (chosen == unique.end()) chosen = unique.begin();  // this family has no more
    ordered.push_back(*chosen);
    unique.erase(chosen);
    if (--turns_left > 0) continue;
    turn = turn == Family::V4 ? Family::V6 : Family::V4;
    turns_left = 1;
  }
  return ordered;
}

void ProxyAddresses::assign(std::span<const IpAddress> sorted) {
  sorted_.assign(sorted.begin(), sorted.end());
  if (winner_ && std::find(sorted_.begin(), sorted_.end(), *winner_) == sorted_.end()) {
    winner_.reset();
  }
  reorder();
}

void ProxyAddresses::won(const IpAddress& address) {
  // Every tunnel reports; nearly always the same address.
  if (winner_ == address) return;
  if (std::find(sorted_.begin(), sorted_.end(), address) == sorted_.end()) return;
  winner_ = address;
  reorder();
}

void ProxyAddresses::failed(const IpAddress& address) {
  if (winner_ != address) return;
  winner_.reset();
  reorder();
}

void ProxyAddresses::reorder() { ordered_ = order_addresses(sorted_, winner_); }

RaceSchedule::RaceSchedule(std::size_t count, TimePoint now, Duration delay) noexcept
    : count_(std::min(count, kMaxRaceAttempts)),
      state_(count == 0 ? State::Failed : State::Racing),
      due_(now),
      delay_(std::max(delay, kMinConnectionAttemptDelay)) {}

std::optional<std::size_t> RaceSchedule::next(TimePoint now) noexcept {
  if (state_ != State::Racing || started_ == count_ || now < due_) return std::nullopt;
  due_ = now + delay_;
  return started_++;
}

std::optional<TimePoint> RaceSchedule::deadline() const noexcept {
  if (state_ != State::Racing || started_ == count_) return std::nullopt;
  return due_;
}

void RaceSchedule::failed(std::size_t attempt, TimePoint now) noexcept {
  if (state_ != State::Racing || !pending(attempt)) return;
  failed_ |= bit(attempt);
  due_ = std::min(due_, now);
  if (static_cast<std::size_t>(std::popcount(failed_)) == count_) state_ = State::Failed;
}

bool RaceSchedule::connected(std::size_t attempt) noexcept {
  if (state_ != State::Racing || !pending(attempt)) return false;
  winner_ = attempt;
  state_ = State::Won;
  return true;
}

bool RaceSchedule::pending(std::size_t attempt) const noexcept {
  return attempt < started_ && (failed_ & bit(attempt)) == 0 && winner_ != attempt;
}

}  // namespace proxyvpn::connect
