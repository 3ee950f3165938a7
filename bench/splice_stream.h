#pragma once
// One direction of a relayed connection: from a socket through a pipe into another, in the kernel.
#include <stdbool.h>
#include <stddef.h>

struct stream {
  int pipe[2];  // -1 while nothing is on its way
  size_t inside;
  bool ended;      // the source's FIN came
  bool passed_on;  // and went out behind everything before it
};

void stream_open(struct stream* s);
void stream_close(struct stream* s);
// Moves what can be moved, a bounded amount. 1: there may be more at once; 0: blocked, or at its
// end; -1: one of the sockets is broken.
int stream_move(struct stream* s, int from, int to);
