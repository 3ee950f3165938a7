#include "event/timer_queue.h"

namespace proxyvpn::event {

void Timer::arm(TimerQueue& queue, TimePoint deadline) {
  cancel();
  deadline_ = deadline;
  queue.insert(*this);
}

void Timer::cancel() noexcept {
  if (queue_ != nullptr) queue_->erase(*this);
}

std::optional<TimePoint> TimerQueue::next_deadline() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return heap_.front()->deadline_;
}

void TimerQueue::fire(TimePoint now) {
  // Only those that are armed now: a callback that arms itself for the past must not spin here.
  std::size_t left = heap_.size();
  while (left-- > 0 && !heap_.empty() && heap_.front()->deadline_ <= now) {
    Timer& timer = *heap_.front();
    erase(timer);
    const auto callback = timer.callback_;  // a copy: it may destroy its own timer
    callback();
  }
}

void TimerQueue::insert(Timer& timer) {
  heap_.push_back(&timer);
  timer.queue_ = this;
  timer.index_ = heap_.size() - 1;
  up(timer.index_);
}

void TimerQueue::erase(Timer& timer) noexcept {
  const std::size_t index = timer.index_;
  Timer* last = heap_.back();
  heap_.pop_back();
  timer.queue_ = nullptr;
  if (last == &timer) return;
  place(index, last);
  up(index);
  down(last->index_);
}

void TimerQueue::place(std::size_t index, Timer* timer) noexcept {
  heap_[index] = timer;
  timer->index_ = index;
}

void TimerQueue::up(std::size_t index) noexcept {
  Timer* timer = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->deadline_ <= timer->deadline_) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerQueue::down(std::size_t index) noexcept {
  Timer* timer = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ < heap_[child]->deadline_) ++child;
    if (timer->deadline_ <= heap_[child]->deadline_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

}  // namespace proxyvpn::event
