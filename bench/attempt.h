#pragma once
// One connection on its way to its first echoed byte: connect, (CONNECT and its answer,) one byte
// there and back.
#include "net.h"

enum attempt_phase { kFree, kConnecting, kAsked, kEchoing, kOpen };
enum progress { kNotYet, kDone, kBroken };

struct attempt {
  int fd;
  enum attempt_phase phase;
  int64_t began;
  uint8_t blank;  // of the answer to CONNECT: how much of "\r\n\r\n" came, and of its status line
  uint8_t status_bytes;
};

// Where connections go: the target's ports in turn, through a proxy when the application itself
// speaks to one ("direct").
struct route {
  struct endpoint to;
  unsigned ports;
  struct endpoint via;
  bool use_proxy;
};

// False: no descriptor or no port.
bool attempt_start(struct attempt* a, const struct route* route, unsigned index);
// What epoll(7) or poll(2) are to wait for.
uint32_t attempt_events(const struct attempt* a);
// After an event. kDone: the byte came back (phase kOpen).
enum progress attempt_step(struct attempt* a, const struct route* route, unsigned index);
// As attempt_step, but done (phase kOpen) as soon as the stream stands; nothing is sent on it.
enum progress attempt_step_connect(struct attempt* a, const struct route* route, unsigned index);
void attempt_close(struct attempt* a);
