// A relay on splice(2), in two uses: as the proxy that every product goes through, and as the
// yardstick of the kernel's own path (nftables REDIRECT to a program written for nothing else).
//
//   relay [--processes N] [--mark MARK] KIND...
//     --http ADDRESS:PORT                       a proxy: HTTP CONNECT, address literals only
//     --socks ADDRESS:PORT                      a proxy: SOCKS5 CONNECT without authentication
//     --redirect ADDRESS:PORT ADDRESS:PORT      takes redirected connections on the first and asks
//                                               the proxy (CONNECT) at the second
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net.h"
#include "splice_stream.h"

enum kind { kHttp, kSocks, kRedirect };
enum phase { kRequest, kSocksRequest, kDialing, kReply, kPumping, kOver };
enum { kHead = 2048, kBatch = 512, kKinds = 8, kOriginalDestination = 80 };

struct service {
  bool listener;  // first in both: tells what an event is about
  int fd;
  enum kind kind;
  struct endpoint listen, proxy;
};

struct side {
  bool listener;
  int fd;
  struct relayed* of;
};

struct relayed {
  struct side side[2];      // 0: who came to us, 1: where it goes
  struct stream stream[2];  // stream[i] carries bytes from side[i]
  enum kind kind;
  enum phase phase;
  struct endpoint target;
  char* head;  // what the handshake has read; freed before pumping
  size_t head_bytes;
  bool queued;
  struct relayed* next;
};

static struct service services[kKinds];
static int service_count, mark, poller;
static struct relayed *again, *over;  // more to pump; to be freed behind the batch

static void end(struct relayed* r) {
  if (r->phase == kOver) return;
  r->phase = kOver;
  for (int i = 0; i < 2; ++i) {
    if (r->side[i].fd >= 0) close(r->side[i].fd);
    stream_close(&r->stream[i]);
  }
  free(r->head);
  r->head = NULL;
  if (r->queued) return;  // freed when it is taken from `again`
  r->next = over;
  over = r;
}

static bool watch(struct side* s) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data = {.ptr = s}};
  return epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &event) == 0;
}

static void pump(struct relayed* r) {
  const int first = stream_move(&r->stream[0], r->side[0].fd, r->side[1].fd);
  const int second = first < 0 ? -1 : stream_move(&r->stream[1], r->side[1].fd, r->side[0].fd);
  if (first < 0 || second < 0 || (r->stream[0].passed_on && r->stream[1].passed_on)) {
    end(r);
  } else if ((first > 0 || second > 0) && !r->queued) {
    r->queued = true;
    r->next = again;
    again = r;
  }
}

// Handshakes are a few bytes on an empty socket: they go out whole or the connection is broken.
static bool send_all(int fd, const void* bytes, size_t n) {
  return send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n;
}

// Reads what there is of a handshake. False: the other side is gone, or says too much.
static bool fill(struct relayed* r, int i) {
  while (r->head_bytes < kHead) {
    const ssize_t n = recv(r->side[i].fd, r->head + r->head_bytes, kHead - r->head_bytes, 0);
    if (n > 0) r->head_bytes += (size_t)n;
    if (n < 0 && errno == EAGAIN) return true;
    if (n == 0 || (n < 0 && errno != EINTR)) return false;
  }
  return false;
}

static void used(struct relayed* r, size_t n) {
  r->head_bytes -= n;
  memmove(r->head, r->head + n, r->head_bytes);
}

// Bytes of the head with its empty line; 0 when it is not whole yet.
static size_t head_length(const struct relayed* r) {
  const char* blank = memmem(r->head, r->head_bytes, "\r\n\r\n", 4);
  return blank ? (size_t)(blank - r->head) + 4 : 0;
}

// What the handshake read beyond itself belongs to the stream.
static void start_pumping(struct relayed* r, int to) {
  const bool good = r->head_bytes == 0 || send_all(r->side[to].fd, r->head, r->head_bytes);
  free(r->head);
  r->head = NULL;
  r->phase = kPumping;
  if (good) {
    pump(r);
  } else {
    end(r);
  }
}

static void refuse(struct relayed* r) {
  static const char http[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
  static const char socks[10] = {5, 5, 0, 1};
  if (r->kind == kHttp) send_all(r->side[0].fd, http, sizeof http - 1);
  if (r->kind == kSocks) send_all(r->side[0].fd, socks, sizeof socks);
  end(r);
}

static void go_to(struct relayed* r, const struct endpoint* to) {
  r->phase = kDialing;
  r->side[1].fd = dial(to, mark);
  if (r->side[1].fd < 0 || !watch(&r->side[1])) refuse(r);
}

static void http_request(struct relayed* r) {
  const bool alive = fill(r, 0);
  const size_t length = head_length(r);
  if (length == 0) {
    if (!alive) end(r);
    return;
  }
  char authority[kAuthorityBytes];
  if (sscanf(r->head, "CONNECT %63[^ ] HTTP/1", authority) != 1 ||
      !read_endpoint(authority, &r->target)) {
    end(r);
    return;
  }
  used(r, length);
  go_to(r, &r->target);
}

static void socks_request(struct relayed* r) {
  if (!fill(r, 0)) {
    end(r);
    return;
  }
  if (r->phase == kRequest) {  // version, number of methods, methods
    if (r->head_bytes < 2 || r->head_bytes < 2U + (uint8_t)r->head[1]) return;
    used(r, 2U + (uint8_t)r->head[1]);
    r->phase = kSocksRequest;
    if (!send_all(r->side[0].fd, "\5\0", 2)) {
      end(r);
      return;
    }
  }
  const bool v6 = r->head_bytes > 3 && r->head[3] == 4;  // RFC 1928: address type
  const size_t address = v6 ? 16 : 4, whole = 6 + address;
  if (r->head_bytes < whole) return;
  if (r->head[1] != 1 || (!v6 && r->head[3] != 1)) {
    refuse(r);
    return;
  }
  r->target = parse_endpoint(v6 ? "[::]:0" : "0.0.0.0:0");
  void* into = v6 ? (void*)&((struct sockaddr_in6*)&r->target.address)->sin6_addr
                  : (void*)&((struct sockaddr_in*)&r->target.address)->sin_addr;
  memcpy(into, r->head + 4, address);
  const uint8_t* port = (const uint8_t*)r->head + 4 + address;
  r->target = with_port(r->target, (unsigned)port[0] << 8 | port[1]);
  used(r, whole);
  go_to(r, &r->target);
}

static void dialed(struct relayed* r) {
  static const char http[] = "HTTP/1.1 200 Connection established\r\n\r\n";
  static const char socks[10] = {5, 0, 0, 1};
  char request[kRequestBytes];
  bool sent = true;
  if (socket_error(r->side[1].fd) != 0) {
    refuse(r);
    return;
  }
  switch (r->kind) {
    case kHttp:
      sent = send_all(r->side[0].fd, http, sizeof http - 1);
      break;
    case kSocks:
      sent = send_all(r->side[0].fd, socks, sizeof socks);
      break;
    case kRedirect:
      r->phase = kReply;
      if (!send_all(r->side[1].fd, request, connect_request(&r->target, request))) end(r);
      return;
  }
  if (sent) {
    start_pumping(r, 1);
  } else {
    end(r);
  }
}

static void proxy_reply(struct relayed* r) {
  const bool alive = fill(r, 1);
  const size_t length = head_length(r);
  if (length > 0 && strncmp(r->head, "HTTP/1.1 200", 12) == 0) {
    used(r, length);
    start_pumping(r, 0);
  } else if (length > 0 || !alive) {
    end(r);
  }
}

static bool original_destination(struct relayed* r) {
  struct sockaddr_storage own;
  socklen_t length = sizeof own;
  if (getsockname(r->side[0].fd, (struct sockaddr*)&own, &length) < 0) return false;
  r->target.length = sizeof r->target.address;
  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; their headers clash with <netinet/in.h>.
  return getsockopt(r->side[0].fd, own.ss_family == AF_INET6 ? SOL_IPV6 : SOL_IP,
                    kOriginalDestination, &r->target.address, &r->target.length) == 0;
}

static void accept_some(struct service* s) {
  for (int n = 0; n < 64; ++n) {
    const int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    no_delay(fd);
    struct relayed* r = calloc(1, sizeof *r);
    if (!r) fail("calloc");
    r->kind = s->kind;
    r->head = malloc(kHead);
    if (!r->head) fail("malloc");
    for (int i = 0; i < 2; ++i) {
      r->side[i] = (struct side){.fd = i == 0 ? fd : -1, .of = r};
      stream_open(&r->stream[i]);
    }
    if (!watch(&r->side[0])) {
      end(r);
    } else if (s->kind == kRedirect) {
      if (original_destination(r)) {
        go_to(r, &s->proxy);
      } else {
        end(r);
      }
    } else if (s->kind == kHttp) {
      http_request(r);
    } else {
      socks_request(r);
    }
  }
}

static void handle(struct side* s) {
  struct relayed* r = s->of;
  const bool outgoing = s == &r->side[1];
  switch (r->phase) {
    case kRequest:
      if (r->kind == kHttp) http_request(r);
      if (r->kind == kSocks) socks_request(r);
      break;
    case kSocksRequest:
      socks_request(r);
      break;
    case kDialing:
      if (outgoing) dialed(r);
      break;
    case kReply:
      if (outgoing) proxy_reply(r);
      break;
    case kPumping:
      pump(r);
      break;
    case kOver:
      break;
  }
}

static void behind_the_batch(void) {
  struct relayed* list = again;
  again = NULL;
  while (list) {
    struct relayed* r = list;
    list = r->next;
    r->queued = false;
    if (r->phase == kOver) {
      r->next = over;
      over = r;
    } else {
      pump(r);
    }
  }
  while (over) {
    struct relayed* r = over;
    over = r->next;
    free(r);
  }
}

static void add_service(enum kind kind, const char* listen, const char* proxy) {
  if (service_count == kKinds) {
    fprintf(stderr, "more than %d services\n", kKinds);
    exit(2);
  }
  struct service* s = &services[service_count++];
  *s = (struct service){.listener = true, .kind = kind, .listen = parse_endpoint(listen)};
  if (proxy) s->proxy = parse_endpoint(proxy);
}

int main(int argc, char** argv) {
  int processes = 4;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--processes") == 0) {
      processes = atoi(argv[i + 1]);
    } else if (strcmp(argv[i], "--mark") == 0) {
      mark = (int)strtol(argv[i + 1], NULL, 0);
    } else if (strcmp(argv[i], "--http") == 0) {
      add_service(kHttp, argv[i + 1], NULL);
    } else if (strcmp(argv[i], "--socks") == 0) {
      add_service(kSocks, argv[i + 1], NULL);
    } else if (strcmp(argv[i], "--redirect") == 0 && i + 2 < argc) {
      add_service(kRedirect, argv[i + 1], argv[i + 2]);
      ++i;
    } else {
      service_count = 0;
      break;
    }
  }
  if (service_count == 0) {
    fprintf(stderr,
            "usage: relay [--processes N] [--mark M] --http A:P | --socks A:P | --redirect A:P A:P "
            "...\n");
    return 2;
  }
  raise_descriptor_limit();
  fork_workers(processes);
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) fail("epoll_create1");
  for (int i = 0; i < service_count; ++i) {
    services[i].fd = listen_on(&services[i].listen);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = &services[i]}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, services[i].fd, &event) < 0) fail("epoll_ctl");
  }
  struct epoll_event events[kBatch];
  for (;;) {
    const int n = epoll_wait(poller, events, kBatch, again ? 0 : -1);
    for (int i = 0; i < n; ++i) {
      if (*(const bool*)events[i].data.ptr) {
        accept_some(events[i].data.ptr);
      } else {
        handle(events[i].data.ptr);
      }
    }
    behind_the_batch();
  }
}
