#include "attempt.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct endpoint target(const struct route* route, unsigned index) {
  return with_port(route->to, port_of(&route->to) + index % route->ports);
}

bool attempt_start(struct attempt* a, const struct route* route, unsigned index) {
  const struct endpoint to = target(route, index);
  *a = (struct attempt){.fd = -1, .phase = kFree, .began = now_ns()};
  a->fd = dial(route->use_proxy ? &route->via : &to, 0);
  if (a->fd < 0) return false;
  a->phase = kConnecting;
  return true;
}

uint32_t attempt_events(const struct attempt* a) {
  return a->phase == kConnecting ? EPOLLOUT : EPOLLIN;
}

// One byte at a time would be slow, reading beyond the head would take the stream's bytes: peek.
static enum progress read_answer(struct attempt* a) {
  static const char status[] = "HTTP/1.1 200", blank[] = "\r\n\r\n";
  char bytes[1024];
  const ssize_t n = recv(a->fd, bytes, sizeof bytes, MSG_PEEK);
  if (n < 0 && errno == EAGAIN) return kNotYet;
  if (n <= 0) return kBroken;
  ssize_t used = 0;
  while (used < n && a->blank < 4) {
    const char c = bytes[used++];
    if (a->status_bytes < sizeof status - 1) {
      const bool minor = a->status_bytes == 7;  // HTTP/1.0 will do
      if (c != status[a->status_bytes] && !minor) return kBroken;
      ++a->status_bytes;
    }
    if (c == blank[a->blank]) {
      ++a->blank;
    } else {
      a->blank = c == '\r' ? 1 : 0;
    }
  }
  if (recv(a->fd, bytes, (size_t)used, 0) != used) return kBroken;
  return a->blank == 4 ? kDone : kNotYet;
}

enum progress attempt_step_connect(struct attempt* a, const struct route* route, unsigned index) {
  if (a->phase == kConnecting) {
    if (socket_error(a->fd) != 0) return kBroken;
    if (route->use_proxy) {
      char request[kRequestBytes];
      const struct endpoint to = target(route, index);
      const size_t n = connect_request(&to, request);
      if (send(a->fd, request, n, MSG_NOSIGNAL) != (ssize_t)n) return kBroken;
      a->phase = kAsked;
      return kNotYet;
    }
  } else {
    const enum progress answered = read_answer(a);
    if (answered != kDone) return answered;
  }
  a->phase = kOpen;
  return kDone;
}

enum progress attempt_step(struct attempt* a, const struct route* route, unsigned index) {
  char byte = 'x';
  if (a->phase == kConnecting || a->phase == kAsked) {
    const enum progress connected = attempt_step_connect(a, route, index);
    if (connected != kDone) return connected;
    if (send(a->fd, &byte, 1, MSG_NOSIGNAL) != 1) return kBroken;
    a->phase = kEchoing;
    return kNotYet;
  }
  const ssize_t n = recv(a->fd, &byte, 1, 0);
  if (n == 1) {
    a->phase = kOpen;
    return kDone;
  }
  return n < 0 && errno == EAGAIN ? kNotYet : kBroken;
}

void attempt_close(struct attempt* a) {
  if (a->phase != kFree) close(a->fd);
  a->phase = kFree;
}
