// The load generator of the benchmark.
//
//   load sequential --count N --seconds S          one connection after the other: connect, one
//                                                  byte there and back, close
//   load rate  --parallel P --count N --seconds S  the same, P at a time: how many per second
//   load hold  --parallel P --count N --seconds S  opens N and keeps them, then obeys lines of
//                                                  standard input: "touch K" sends a byte there and
//                                                  back on K of them, "alive" counts, "quit"
//   load first --since NS --seconds S              time until the first echoed byte
//   load bulk  --parallel P --seconds S [--down 1] bytes per second on P streams
//
// All: --to ADDRESS:PORT (first port), --ports N (in turn), --via ADDRESS:PORT (speaks CONNECT to
// a proxy by itself). Every answer is one line of JSON.
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void samples_open(struct samples* s, unsigned most) {
  *s = (struct samples){.values = calloc(most + 1, sizeof *s->values)};
  if (!s->values) fail("calloc");
}

void samples_add(struct samples* s, int64_t value) { s->values[s->count++] = value; }

static int compare(const void* a, const void* b) {
  const int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return (x > y) - (x < y);
}

void samples_print(struct samples* s, const char* name, double seconds) {
  printf("{\"%s\":%u,\"errors\":%u,\"seconds\":%.4f", name, s->count, s->errors, seconds);
  if (s->count > 0) {
    qsort(s->values, s->count, sizeof *s->values, compare);
    const struct {
      const char* key;
      double share;
    } wanted[] = {{"p50_us", 0.5}, {"p99_us", 0.99}, {"max_us", 1}};
    for (size_t i = 0; i < 3; ++i) {
      unsigned at = (unsigned)(wanted[i].share * s->count);
      if (at >= s->count) at = s->count - 1;
      printf(",\"%s\":%.1f", wanted[i].key, (double)s->values[at] / 1e3);
    }
  }
  printf("}\n");
  fflush(stdout);
  free(s->values);
}

// Nanoseconds to the echoed byte, -1 when it did not come.
static int64_t one(const struct route* route, unsigned index) {
  struct attempt a;
  enum progress progress = kNotYet;
  if (!attempt_start(&a, route, index)) return -1;
  while (progress == kNotYet) {
    struct pollfd wait = {.fd = a.fd, .events = (short)attempt_events(&a)};
    const int64_t left = a.began + kPatience - now_ns();
    if (left <= 0 || (poll(&wait, 1, (int)(left / 1000000) + 1) < 0 && errno != EINTR)) break;
    if (wait.revents) progress = attempt_step(&a, route, index);
  }
  const int64_t took = now_ns() - a.began;
  attempt_close(&a);
  return progress == kDone ? took : -1;
}

void run_sequential(const struct options* o) {
  struct samples samples;
  samples_open(&samples, o->count);
  const int64_t began = now_ns();
  unsigned row = 0;  // of failures: a path that is down is not tried to the end
  for (unsigned i = 0; i < o->count && row < 5; ++i) {
    if ((double)(now_ns() - began) > o->seconds * 1e9) break;
    const int64_t took = one(&o->route, i);
    if (took < 0) {
      ++samples.errors;
      ++row;
    } else {
      samples_add(&samples, took);
      row = 0;
    }
  }
  samples_print(&samples, "done", (double)(now_ns() - began) / 1e9);
}

// A new attempt every 2 ms while older ones are pending: a SYN that was lost before the rules
// stood costs no retransmission time-out.
void run_first(const struct options* o) {
  enum { kPending = 128 };
  struct attempt attempts[kPending];
  struct pollfd wait[kPending];
  int64_t last = 0;
  unsigned started = 0;
  for (unsigned i = 0; i < kPending; ++i) attempts[i].phase = kFree;
  while ((double)(now_ns() - o->since) < o->seconds * 1e9) {
    if (now_ns() - last >= 2000000) {
      struct attempt* a = &attempts[started % kPending];
      last = now_ns();
      attempt_close(a);
      attempt_start(a, &o->route, started++);
    }
    for (unsigned i = 0; i < kPending; ++i) {
      wait[i].fd = attempts[i].phase == kFree ? -1 : attempts[i].fd;
      wait[i].events = (short)attempt_events(&attempts[i]);
      wait[i].revents = 0;
    }
    if (poll(wait, kPending, 1) <= 0) continue;
    for (unsigned i = 0; i < kPending; ++i) {
      if (!wait[i].revents) continue;
      const enum progress progress = attempt_step(&attempts[i], &o->route, i);
      if (progress == kBroken) attempt_close(&attempts[i]);
      if (progress == kDone) {
        printf("{\"ms\":%.3f,\"attempts\":%u}\n", (double)(now_ns() - o->since) / 1e6, started);
        return;
      }
    }
  }
  printf("{\"ms\":null,\"attempts\":%u}\n", started);
}

static bool read_options(int argc, char** argv, struct options* o) {
  for (int i = 2; i + 1 < argc; i += 2) {
    const char *name = argv[i], *value = argv[i + 1];
    if (strcmp(name, "--to") == 0) {
      o->route.to = parse_endpoint(value);
    } else if (strcmp(name, "--via") == 0) {
      o->route.via = parse_endpoint(value);
      o->route.use_proxy = true;
    } else if (strcmp(name, "--ports") == 0) {
      o->route.ports = (unsigned)atoi(value);
    } else if (strcmp(name, "--count") == 0) {
      o->count = (unsigned)atoi(value);
    } else if (strcmp(name, "--parallel") == 0) {
      o->parallel = (unsigned)atoi(value);
    } else if (strcmp(name, "--seconds") == 0) {
      o->seconds = atof(value);
    } else if (strcmp(name, "--since") == 0) {
      o->since = atoll(value);
    } else if (strcmp(name, "--down") == 0) {
      o->down = atoi(value) != 0;
    } else {
      fprintf(stderr, "unknown option %s\n", name);
      return false;
    }
  }
  return o->route.to.length > 0 && o->route.ports > 0 && o->parallel > 0;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void (*run)(const struct options*);
  } modes[] = {{"sequential", run_sequential},
               {"rate", run_rate},
               {"hold", run_hold},
               {"first", run_first},
               {"bulk", run_bulk}};
  struct options o = {.route = {.ports = 1}, .count = 1000, .parallel = 1, .seconds = 5};
  signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  o.since = now_ns();
  if (argc > 2 && read_options(argc, argv, &o)) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; ++i) {
      if (strcmp(argv[1], modes[i].name) == 0) {
        modes[i].run(&o);
        return 0;
      }
    }
  }
  fprintf(stderr, "usage: load sequential|rate|hold|first|bulk --to ADDRESS:PORT ...\n");
  return 2;
}
