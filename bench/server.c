// The servers that the benchmark and the soak talk to, in one program:
//
//   server [--processes N] ADDRESS...
//
// On every address (IPv6 in brackets), ports as in `enum role_port`:
//   echo     sends back what comes, also behind the other side's FIN
//   sink     swallows; at FIN answers 16 bytes: what it counted, what was wrong (always 0)
//   check    the same, and compares with the pattern of net.h
//   source   takes an 8-byte length, sends as many bytes of the pattern, then FIN
// Numbers are 64 bits in the machine's own order.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net.h"

enum role_port { kEchoPort = 7000, kEchoPorts = 16, kSinkPort = 7100, kCheckPort, kSourcePort };
enum role { kListener, kEcho, kSink, kCheck, kSource };
enum { kBuffer = 128 * 1024, kBurst = 4, kBatch = 256 };

struct connection {
  int fd;
  enum role role;
  enum role accepts;  // of a listener: what its connections are
  bool finished;      // sent everything and FIN: waits for the other side's end
  uint8_t header[8];
  unsigned header_bytes;
  uint64_t count;    // sink, check: bytes that came; source: bytes that went
  uint64_t wrong;    // check: buffers that differ from the pattern
  uint64_t length;   // source: bytes wanted
  uint8_t* pending;  // echo: what the socket did not take yet
  size_t pending_at, pending_bytes;
};

static int poller;
static uint8_t buffer[kBuffer];

static void drop(struct connection* c) {
  close(c->fd);
  free(c->pending);
  free(c);
}

static void interest(struct connection* c, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data = {.ptr = c}};
  if (epoll_ctl(poller, operation, c->fd, &event) < 0) fail("epoll_ctl");
}

static void add(int fd, enum role role, enum role accepts) {
  struct connection* c = calloc(1, sizeof *c);
  if (!c) fail("calloc");
  c->fd = fd;
  c->role = role;
  c->accepts = accepts;
  interest(c, EPOLLIN, EPOLL_CTL_ADD);
}

static void accept_some(struct connection* listener) {
  for (int i = 0; i < 64; ++i) {
    const int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    no_delay(fd);
    add(fd, listener->accepts, kListener);
  }
}

static bool would_block(ssize_t n) { return n < 0 && (errno == EAGAIN || errno == EINTR); }

// False: the connection is over.
static bool keep_pending(struct connection* c, const uint8_t* from, size_t n) {
  c->pending = malloc(n);
  if (!c->pending) return false;
  memcpy(c->pending, from, n);
  c->pending_at = 0;
  c->pending_bytes = n;
  interest(c, EPOLLOUT, EPOLL_CTL_MOD);
  return true;
}

static bool echo_flush(struct connection* c) {
  const ssize_t n = send(c->fd, c->pending + c->pending_at, c->pending_bytes, MSG_NOSIGNAL);
  if (n < 0) return would_block(n);
  c->pending_at += (size_t)n;
  c->pending_bytes -= (size_t)n;
  if (c->pending_bytes > 0) return true;
  free(c->pending);
  c->pending = NULL;
  interest(c, EPOLLIN, EPOLL_CTL_MOD);
  return true;
}

static bool echo(struct connection* c) {
  if (c->pending) return echo_flush(c);
  const ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (n <= 0) return would_block(n);
  const ssize_t sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
  if (sent == n) return true;
  if (sent < 0 && !would_block(sent)) return false;
  const size_t took = sent < 0 ? 0 : (size_t)sent;
  return keep_pending(c, buffer + took, (size_t)n - took);
}

static bool swallow(struct connection* c) {
  for (int i = 0; i < kBurst; ++i) {
    const ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (would_block(n)) return true;
    if (n < 0) return false;
    if (n == 0) {
      const uint64_t answer[2] = {c->count, c->wrong};
      (void)!send(c->fd, answer, sizeof answer, MSG_NOSIGNAL);
      return false;
    }
    if (c->role == kCheck && memcmp(buffer, pattern_at(c->count), (size_t)n) != 0) ++c->wrong;
    c->count += (uint64_t)n;
  }
  return true;
}

static bool take_request(struct connection* c) {
  const ssize_t n = recv(c->fd, c->header + c->header_bytes, sizeof c->header - c->header_bytes, 0);
  if (n <= 0) return would_block(n);
  c->header_bytes += (unsigned)n;
  if (c->header_bytes < sizeof c->header) return true;
  memcpy(&c->length, c->header, sizeof c->length);
  interest(c, EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_MOD);
  return true;
}

static bool pour(struct connection* c) {
  for (int i = 0; i < kBurst && c->count < c->length; ++i) {
    const uint64_t left = c->length - c->count;
    const size_t want = left < kPatternRun ? (size_t)left : kPatternRun;
    const ssize_t n = send(c->fd, pattern_at(c->count), want, MSG_NOSIGNAL);
    if (n < 0) return would_block(n);
    c->count += (uint64_t)n;
  }
  if (c->count == c->length) {
    shutdown(c->fd, SHUT_WR);
    c->finished = true;
    interest(c, EPOLLIN, EPOLL_CTL_MOD);
  }
  return true;
}

static bool source(struct connection* c, uint32_t events) {
  if (c->header_bytes < sizeof c->header) return take_request(c);
  if (c->finished) {
    const ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    return n > 0 || would_block(n);
  }
  return (events & (EPOLLERR | EPOLLHUP)) == 0 && pour(c);
}

static void handle(struct connection* c, uint32_t events) {
  bool alive = true;
  switch (c->role) {
    case kListener:
      accept_some(c);
      return;
    case kEcho:
      alive = echo(c);
      break;
    case kSink:
    case kCheck:
      alive = swallow(c);
      break;
    case kSource:
      alive = source(c, events);
      break;
  }
  if (!alive) drop(c);
}

static void listen_everywhere(const char* address) {
  char text[80];
  snprintf(text, sizeof text, "%s:1", address);
  const struct endpoint base = parse_endpoint(text);
  for (unsigned i = 0; i < kEchoPorts; ++i) {
    const struct endpoint at = with_port(base, kEchoPort + i);
    add(listen_on(&at), kListener, kEcho);
  }
  const enum role roles[] = {kSink, kCheck, kSource};
  for (unsigned i = 0; i < 3; ++i) {
    const struct endpoint at = with_port(base, kSinkPort + i);
    add(listen_on(&at), kListener, roles[i]);
  }
}

int main(int argc, char** argv) {
  int first = 1, processes = 4;
  if (argc > 3 && strcmp(argv[1], "--processes") == 0) {
    processes = atoi(argv[2]);
    first = 3;
  }
  if (first >= argc) {
    fprintf(stderr, "usage: server [--processes N] ADDRESS...\n");
    return 2;
  }
  raise_descriptor_limit();
  fork_workers(processes);
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) fail("epoll_create1");
  for (int i = first; i < argc; ++i) listen_everywhere(argv[i]);
  struct epoll_event events[kBatch];
  for (;;) {
    const int n = epoll_wait(poller, events, kBatch, -1);
    for (int i = 0; i < n; ++i) handle(events[i].data.ptr, events[i].events);
  }
}
