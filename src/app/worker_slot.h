#pragma once
// What the pool knows of one worker. For worker_pool*.cc alone.
#include <sys/mman.h>

#include <deque>
#include <memory>

#include "app/worker_pool.h"
#include "base/log.h"
#include "connect/flow_book.h"

namespace proxyvpn::app {

// Memory that a worker and we share.
struct Unmapper {
  template <class T>
  void operator()(T* shared) const noexcept {
    ::munmap(shared, sizeof(T));
  }
};
template <class T>
using Shared = std::unique_ptr<T, Unmapper>;

struct WorkerPool::Slot {
  explicit Slot(unsigned number, WorkerPool& pool)
      : index(number),
        handler([this, &pool](std::uint32_t events) { pool.on_channel(*this, events); }),
        restart([this, &pool] {
          if (auto launched = pool.launch(*this); !launched) {
            log::error(launched.error().message, {{"worker", index}});
            restart.arm(pool.reactor_.timers(), pool.reactor_.now() + RestartPolicy::kLongestDelay);
          }
        }) {}

  unsigned index;
  pid_t pid = 0;           // 0: none runs
  std::uint64_t life = 0;  // of the process that runs or ran last
  UniqueFd channel;
  event::FunctionHandler handler;
  event::Timer restart;
  Shared<WorkerStats> stats;
  Shared<connect::FlowBook> book;
  TimePoint born{};
  RestartPolicy policy;
  BeatWatch watch;
  bool output_wanted = false;
  std::deque<ToWorker> owed;  // messages that the channel did not take yet, oldest first
};

}  // namespace proxyvpn::app
