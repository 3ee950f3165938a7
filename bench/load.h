#pragma once
// The modes of load.c and what they share.
#include "attempt.h"

struct options {
  struct route route;
  unsigned count;     // connections, or the most of them
  unsigned parallel;  // at the same time; streams of bulk
  double seconds;
  int64_t since;  // first: CLOCK_MONOTONIC nanoseconds from which time counts
  bool down;      // bulk: from the server
};

// Nanoseconds of each success, and what they come to: one line of JSON on standard output.
struct samples {
  int64_t* values;
  unsigned count, errors;
};
void samples_open(struct samples* s, unsigned most);
void samples_add(struct samples* s, int64_t value);
// `name` is the key of the number of successes; ends and frees the samples.
void samples_print(struct samples* s, const char* name, double seconds);

void run_sequential(const struct options* o);
void run_rate(const struct options* o);
void run_hold(const struct options* o);
void run_first(const struct options* o);
void run_bulk(const struct options* o);

// One connection is given up after this.
#define kPatience INT64_C(3000000000)
