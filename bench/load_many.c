// Modes of load.c that have many connections under way: rate and hold.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

// Attempts that are under way now, and their deadline: each slot has a place of its own in `all`.
struct flight {
  const struct options* options;
  bool keep;  // every attempt has its own slot and stays open; else `parallel` slots in turn
  struct attempt* all;
  unsigned slots;
  unsigned* free_slots;
  unsigned free_count, started, under_way;
  int poller;
  struct samples samples;
};

static void flight_open(struct flight* f, const struct options* o, bool keep) {
  *f = (struct flight){.options = o, .keep = keep, .slots = keep ? o->count : o->parallel};
  f->all = calloc(f->slots, sizeof *f->all);
  f->free_slots = calloc(f->slots, sizeof *f->free_slots);
  if (!f->all || !f->free_slots) fail("calloc");
  for (unsigned i = f->slots; i > 0; --i) f->free_slots[f->free_count++] = i - 1;
  f->poller = epoll_create1(EPOLL_CLOEXEC);
  if (f->poller < 0) fail("epoll_create1");
  samples_open(&f->samples, o->count);
}

static void arm(struct flight* f, unsigned slot, int operation) {
  struct epoll_event event = {.events = attempt_events(&f->all[slot]), .data = {.u32 = slot}};
  epoll_ctl(f->poller, operation, f->all[slot].fd, &event);
}

static void start_some(struct flight* f) {
  while (f->under_way < f->options->parallel && f->free_count > 0 &&
         f->started < f->options->count) {
    const unsigned slot = f->free_slots[f->free_count - 1];
    ++f->started;
    if (!attempt_start(&f->all[slot], &f->options->route, f->started)) {
      ++f->samples.errors;
      continue;
    }
    --f->free_count;
    ++f->under_way;
    arm(f, slot, EPOLL_CTL_ADD);
  }
}

static void landed(struct flight* f, unsigned slot, bool good) {
  struct attempt* a = &f->all[slot];
  --f->under_way;
  if (good) {
    samples_add(&f->samples, now_ns() - a->began);
  } else {
    ++f->samples.errors;
  }
  if (good && f->keep) {
    epoll_ctl(f->poller, EPOLL_CTL_DEL, a->fd, NULL);
    return;
  }
  attempt_close(a);
  f->free_slots[f->free_count++] = slot;
}

static void give_up_late_ones(struct flight* f) {
  const int64_t now = now_ns();
  for (unsigned i = 0; i < f->slots; ++i) {
    const enum attempt_phase phase = f->all[i].phase;
    if (phase != kFree && phase != kOpen && now - f->all[i].began > kPatience) landed(f, i, false);
  }
}

// Until `count` attempts are over, or the time is, or so many fail that there is no point.
static double fly(struct flight* f) {
  struct epoll_event events[128];
  const int64_t began = now_ns();
  const int64_t until = began + (int64_t)(f->options->seconds * 1e9);
  int64_t looked = began;
  for (;;) {
    const int64_t now = now_ns();
    const bool late = now > until || f->samples.errors > 200 + f->options->count / 20;
    if (!late) start_some(f);
    if (f->under_way == 0 || (late && now > until + kPatience)) break;
    const int n = epoll_wait(f->poller, events, 128, 100);
    for (int i = 0; i < n; ++i) {
      const unsigned slot = events[i].data.u32;
      struct attempt* a = &f->all[slot];
      const enum attempt_phase before = a->phase;
      const enum progress progress = attempt_step(a, &f->options->route, f->started);
      if (progress != kNotYet) {
        landed(f, slot, progress == kDone);
      } else if (before == kConnecting) {
        arm(f, slot, EPOLL_CTL_MOD);
      }
    }
    if (now - looked > 200000000) {
      looked = now;
      give_up_late_ones(f);
    }
  }
  return (double)(now_ns() - began) / 1e9;
}

void run_rate(const struct options* o) {
  struct flight f;
  flight_open(&f, o, false);
  const double seconds = fly(&f);
  samples_print(&f.samples, "done", seconds);
}

static bool touch_one(struct attempt* a) {
  char byte = 't';
  struct pollfd wait = {.fd = a->fd, .events = POLLIN};
  return send(a->fd, &byte, 1, MSG_NOSIGNAL) == 1 && poll(&wait, 1, 2000) == 1 &&
         recv(a->fd, &byte, 1, MSG_DONTWAIT) == 1;
}

// One byte there and back on `count` of the held connections, far from each other.
static void touch(struct flight* f, unsigned count) {
  struct samples samples;
  samples_open(&samples, count);
  const int64_t began = now_ns();
  uint64_t at = 0;
  for (unsigned i = 0; i < 4 * count && samples.count < count && samples.errors < 5; ++i) {
    at = (at + 2654435761U) % f->slots;
    struct attempt* a = &f->all[at];
    if (a->phase != kOpen) continue;
    const int64_t start = now_ns();
    if (touch_one(a)) {
      samples_add(&samples, now_ns() - start);
    } else {
      ++samples.errors;
      attempt_close(a);
    }
  }
  samples_print(&samples, "done", (double)(now_ns() - began) / 1e9);
}

// Those on which nothing has come: neither an end nor a stray byte.
static unsigned alive(const struct flight* f) {
  unsigned count = 0;
  for (unsigned i = 0; i < f->slots; ++i) {
    char byte;
    if (f->all[i].phase == kOpen && recv(f->all[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
        errno == EAGAIN)
      ++count;
  }
  return count;
}

void run_hold(const struct options* o) {
  struct flight f;
  char line[64];
  flight_open(&f, o, true);
  const double seconds = fly(&f);
  samples_print(&f.samples, "open", seconds);
  while (fgets(line, sizeof line, stdin)) {
    unsigned count = 0;
    if (sscanf(line, "touch %u", &count) == 1) {
      touch(&f, count);
    } else if (strncmp(line, "alive", 5) == 0) {
      printf("{\"alive\":%u}\n", alive(&f));
      fflush(stdout);
    } else {
      break;
    }
  }
}
