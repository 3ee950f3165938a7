#pragma once
// What the pool knows of one worker. For worker_pool*.cc alone.
#include <sys/mman.h>

#include <deque>
#include <memory>

#include "app/worker_pool.h"
#include "base/log.h"

namespace proxyvpn::app {

// The page that a worker and we share.
struct StatsUnmapper {
  void operator()(WorkerStats* stats) const noexcept { ::munmap(stats, sizeof(WorkerStats)); }
};
using StatsPage = std::unique_ptr<WorkerStats, StatsUnmapper>;

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
  StatsPage stats;
  TimePoint born{};
  RestartPolicy policy;
  BeatWatch watch;
  bool output_wanted = false;
  std::deque<ToWorker> owed;  // messages that the channel did not take yet, oldest first
};

}  // namespace proxyvpn::app
