#pragma once
// What the benchmark's small C programs share: addresses, sockets, a clock, and a byte pattern that
// shows when a stream lost, repeated or reordered something.
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct endpoint {
  struct sockaddr_storage address;
  socklen_t length;
};

// "192.0.2.1:80" or "[2001:db8::1]:80"; no names. False when it is neither.
bool read_endpoint(const char* text, struct endpoint* result);
// Ends the program when it is neither.
struct endpoint parse_endpoint(const char* text);
struct endpoint with_port(struct endpoint endpoint, unsigned port);
unsigned port_of(const struct endpoint* endpoint);
// As CONNECT's request line wants it, IPv6 in brackets. `out` holds kAuthorityBytes.
enum { kAuthorityBytes = 64 };
void format_authority(const struct endpoint* endpoint, char* out);
// The bytes of a CONNECT request for `target`; their number.
enum { kRequestBytes = 256 };
size_t connect_request(const struct endpoint* target, char* out);

// Non-blocking, SO_REUSEPORT (several processes share it), a long queue. Ends the program on error.
int listen_on(const struct endpoint* endpoint);
// A non-blocking TCP socket without Nagle's algorithm on its way to `to`. -1: errno tells.
int dial(const struct endpoint* to, int mark);
void no_delay(int fd);
// The error that a connect(2) on its way ended with, 0 for none.
int socket_error(int fd);

// The soft limit of descriptors up to the hard one.
void raise_descriptor_limit(void);
// Forks until there are `count` processes; the children end with the first one.
void fork_workers(int count);
int64_t now_ns(void);
_Noreturn void fail(const char* what);

// The stream of pattern bytes from `offset` on; kPatternRun of them may be read. The period is a
// prime, so that a lost buffer of any usual size shows.
enum { kPatternPeriod = 65521, kPatternRun = 131072 };
const uint8_t* pattern_at(uint64_t offset);
