// The bulk mode of load.c: how many bytes per second arrive, on one or several streams. Only bytes
// that the receiving end has read count.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

enum { kStreams = 256, kChunk = 128 * 1024, kBatch = 64 };

struct bulk_stream {
  struct attempt attempt;
  uint64_t bytes;
  bool finished;
};

static struct bulk_stream streams[kStreams];
static uint8_t buffer[kChunk];

static void watch(int poller, unsigned i, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data = {.u32 = i}};
  if (epoll_ctl(poller, operation, streams[i].attempt.fd, &event) < 0) fail("epoll_ctl");
}

// All streams stand before the clock starts. False when one does not come to stand.
static bool connect_all(const struct options* o, int poller) {
  const int64_t until = now_ns() + kPatience;
  unsigned standing = 0;
  struct epoll_event events[kBatch];
  for (unsigned i = 0; i < o->parallel; ++i) {
    if (!attempt_start(&streams[i].attempt, &o->route, i)) return false;
    watch(poller, i, EPOLLOUT, EPOLL_CTL_ADD);
  }
  while (standing < o->parallel) {
    if (now_ns() > until) return false;
    const int n = epoll_wait(poller, events, kBatch, 100);
    for (int k = 0; k < n; ++k) {
      const unsigned i = events[k].data.u32;
      switch (attempt_step_connect(&streams[i].attempt, &o->route, i)) {
        case kBroken:
          return false;
        case kDone:
          ++standing;
          watch(poller, i, 0, EPOLL_CTL_MOD);
          break;
        case kNotYet:
          watch(poller, i, EPOLLIN, EPOLL_CTL_MOD);
          break;
      }
    }
  }
  return true;
}

// False: the stream broke.
static bool receive_some(struct bulk_stream* s) {
  const ssize_t n = recv(s->attempt.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (n > 0) s->bytes += (uint64_t)n;
  return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool send_some(struct bulk_stream* s) {
  const ssize_t n = send(s->attempt.fd, buffer, sizeof buffer, MSG_NOSIGNAL | MSG_DONTWAIT);
  return n > 0 || (n < 0 && errno == EAGAIN);
}

// The server's count of what it has read comes at its end of the stream.
static bool receive_count(struct bulk_stream* s) {
  uint64_t answer[2];
  const ssize_t n = recv(s->attempt.fd, answer, sizeof answer, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return true;
  if (n <= 0) return false;
  if (n == (ssize_t)sizeof answer) {
    s->bytes = answer[0];
    s->finished = true;
  }
  return true;
}

static bool begin(const struct options* o, int poller) {
  const uint64_t endless = UINT64_MAX;
  for (unsigned i = 0; i < o->parallel; ++i) {
    const int fd = streams[i].attempt.fd;
    if (o->down && send(fd, &endless, sizeof endless, MSG_NOSIGNAL) != (ssize_t)sizeof endless)
      return false;
    watch(poller, i, o->down ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
  }
  return true;
}

static bool carry(const struct options* o, int poller) {
  const int64_t until = now_ns() + (int64_t)(o->seconds * 1e9);
  struct epoll_event events[kBatch];
  while (now_ns() < until) {
    const int n = epoll_wait(poller, events, kBatch, 100);
    for (int k = 0; k < n; ++k) {
      struct bulk_stream* s = &streams[events[k].data.u32];
      if (!(o->down ? receive_some(s) : send_some(s))) return false;
    }
  }
  return true;
}

static bool collect_counts(const struct options* o, int poller) {
  const int64_t until = now_ns() + 2 * kPatience;
  struct epoll_event events[kBatch];
  unsigned finished = 0;
  for (unsigned i = 0; i < o->parallel; ++i) {
    shutdown(streams[i].attempt.fd, SHUT_WR);
    watch(poller, i, EPOLLIN, EPOLL_CTL_MOD);
  }
  while (finished < o->parallel && now_ns() < until) {
    const int n = epoll_wait(poller, events, kBatch, 100);
    for (int k = 0; k < n; ++k) {
      struct bulk_stream* s = &streams[events[k].data.u32];
      if (!receive_count(s)) return false;
      if (!s->finished) continue;
      ++finished;
      watch(poller, events[k].data.u32, 0, EPOLL_CTL_DEL);
    }
  }
  return finished == o->parallel;
}

static void print(const struct options* o, double seconds) {
  uint64_t total = 0, least = UINT64_MAX;
  for (unsigned i = 0; i < o->parallel; ++i) {
    total += streams[i].bytes;
    if (streams[i].bytes < least) least = streams[i].bytes;
  }
  const double average = (double)total / o->parallel;
  printf("{\"gbps\":%.4f,\"bytes\":%llu,\"seconds\":%.4f,\"least_share\":%.4f}\n",
         (double)total * 8 / seconds / 1e9, (unsigned long long)total, seconds,
         average > 0 ? (double)least / average : 0);
}

void run_bulk(const struct options* o) {
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  bool good = o->parallel <= kStreams && poller >= 0 && connect_all(o, poller);
  memcpy(buffer, pattern_at(0), sizeof buffer);
  const int64_t began = now_ns();
  good = good && begin(o, poller) && carry(o, poller) && (o->down || collect_counts(o, poller));
  if (good) {
    print(o, (double)(now_ns() - began) / 1e9);
  } else {
    printf("{\"error\":\"a stream did not come to stand, or broke\"}\n");
  }
}
