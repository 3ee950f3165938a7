#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool read_endpoint(const char* text, struct endpoint* result) {
  char host[64];
  memset(result, 0, sizeof *result);
  const char* colon = strrchr(text, ':');
  size_t n = colon ? (size_t)(colon - text) : 0;
  const bool v6 = text[0] == '[' && n > 2 && text[n - 1] == ']';
  const char* from = v6 ? text + 1 : text;
  if (v6) n -= 2;
  if (colon && n > 0 && n < sizeof host) {
    memcpy(host, from, n);
    host[n] = 0;
    const uint16_t port = htons((uint16_t)atoi(colon + 1));
    struct sockaddr_in* four = (struct sockaddr_in*)&result->address;
    struct sockaddr_in6* six = (struct sockaddr_in6*)&result->address;
    if (v6 && inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
      six->sin6_family = AF_INET6;
      six->sin6_port = port;
      result->length = sizeof *six;
      return true;
    }
    if (!v6 && inet_pton(AF_INET, host, &four->sin_addr) == 1) {
      four->sin_family = AF_INET;
      four->sin_port = port;
      result->length = sizeof *four;
      return true;
    }
  }
  return false;
}

struct endpoint parse_endpoint(const char* text) {
  struct endpoint result;
  if (read_endpoint(text, &result)) return result;
  fprintf(stderr, "'%s' is neither ADDRESS:PORT nor [ADDRESS]:PORT\n", text);
  exit(2);
}

// sin_port and sin6_port lie at the same place.
unsigned port_of(const struct endpoint* endpoint) {
  return ntohs(((const struct sockaddr_in*)&endpoint->address)->sin_port);
}

struct endpoint with_port(struct endpoint endpoint, unsigned port) {
  ((struct sockaddr_in*)&endpoint.address)->sin_port = htons((uint16_t)port);
  return endpoint;
}

void format_authority(const struct endpoint* endpoint, char* out) {
  char host[INET6_ADDRSTRLEN];
  const bool v6 = endpoint->address.ss_family == AF_INET6;
  const void* raw = v6 ? (const void*)&((const struct sockaddr_in6*)&endpoint->address)->sin6_addr
                       : (const void*)&((const struct sockaddr_in*)&endpoint->address)->sin_addr;
  inet_ntop(endpoint->address.ss_family, raw, host, sizeof host);
  snprintf(out, kAuthorityBytes, v6 ? "[%s]:%u" : "%s:%u", host, port_of(endpoint));
}

size_t connect_request(const struct endpoint* target, char* out) {
  char authority[kAuthorityBytes];
  format_authority(target, authority);
  return (size_t)snprintf(out, kRequestBytes, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority,
                          authority);
}

void no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
  return error;
}

int listen_on(const struct endpoint* endpoint) {
  const int on = 1;
  const int fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (endpoint->address.ss_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, (const struct sockaddr*)&endpoint->address, endpoint->length) < 0) fail("bind");
  if (listen(fd, 65535) < 0) fail("listen");
  return fd;
}

int dial(const struct endpoint* to, int mark) {
  const int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  no_delay(fd);
  if (mark != 0) setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
  if (connect(fd, (const struct sockaddr*)&to->address, to->length) == 0 || errno == EINPROGRESS)
    return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void fork_workers(int count) {
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i < count; ++i) {
    const pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      return;
    }
  }
}

const uint8_t* pattern_at(uint64_t offset) {
  static uint8_t bytes[kPatternPeriod + kPatternRun];
  static bool made = false;
  if (!made) {
    uint32_t state = 1;  // soak_client.py makes the same bytes
    for (size_t i = 0; i < kPatternPeriod; ++i) {
      state = (state * 1103515245U + 12345U) & 0x7fffffffU;
      bytes[i] = (uint8_t)(state >> 16);
    }
    for (size_t i = kPatternPeriod; i < sizeof bytes; ++i) bytes[i] = bytes[i - kPatternPeriod];
    made = true;
  }
  return bytes + offset % kPatternPeriod;
}
