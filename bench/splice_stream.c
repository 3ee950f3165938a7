#include "splice_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// 64 KiB under way per direction stay in the cache. Idle connections have no pipe.
enum { kPipe = 64 * 1024, kRounds = 32, kIdlePipes = 256 };

static int idle_pipes[kIdlePipes][2];
static int idle_pipe_count;

static bool would_block(void) { return errno == EAGAIN || errno == EINTR; }

static bool take_pipe(struct stream* s) {
  if (s->pipe[0] >= 0) return true;
  if (idle_pipe_count > 0) {
    memcpy(s->pipe, idle_pipes[--idle_pipe_count], sizeof s->pipe);
    return true;
  }
  if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC) == 0) return true;
  s->pipe[0] = s->pipe[1] = -1;
  return false;
}

static void give_pipe(struct stream* s) {
  if (s->pipe[0] < 0) return;
  if (s->inside == 0 && idle_pipe_count < kIdlePipes) {
    memcpy(idle_pipes[idle_pipe_count++], s->pipe, sizeof s->pipe);
  } else {
    close(s->pipe[0]);
    close(s->pipe[1]);
  }
  s->pipe[0] = s->pipe[1] = -1;
}

void stream_open(struct stream* s) { *s = (struct stream){.pipe = {-1, -1}}; }

void stream_close(struct stream* s) { give_pipe(s); }

int stream_move(struct stream* s, int from, int to) {
  for (int round = 0; round < kRounds; ++round) {
    if (s->inside == 0 && s->ended) {
      if (!s->passed_on) shutdown(to, SHUT_WR);
      s->passed_on = true;
      give_pipe(s);
      return 0;
    }
    if (s->inside == 0) {
      if (!take_pipe(s)) return -1;
      const ssize_t n = splice(from, NULL, s->pipe[1], NULL, kPipe, SPLICE_F_NONBLOCK);
      if (n == 0) s->ended = true;
      if (n > 0) s->inside = (size_t)n;
      if (n < 0) {
        give_pipe(s);
        return would_block() ? 0 : -1;
      }
      continue;
    }
    const ssize_t n = splice(s->pipe[0], NULL, to, NULL, s->inside, SPLICE_F_NONBLOCK);
    if (n < 0) return would_block() ? 0 : -1;
    s->inside -= (size_t)n;
  }
  return 1;
}
