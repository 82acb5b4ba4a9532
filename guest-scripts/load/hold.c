// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold FREE
 * Takes memory away until FREE bytes are free, prints how many bytes it took
 * and goes on holding them in the background. They are locked, so that no
 * reclaim gives them back, and their holder is nothing for the OOM killer.
 * Free is MemFree and what lies on the lists of the CPUs, which come back to
 * MemFree by and by: several MiB in a small guest.
 * It never goes below the low watermarks: there reclaim would set in, and RAM
 * that kswapd fights for is no RAM that is free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024L)	/* an eighth of what the host lets pass as reached */
#define CALM 5			/* looks in a row without anything to do */
#define LOOK_US 20000
#define SECONDS 40.0

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Pages in zone lists that begin with one of two words, in bytes; -1 without /proc. */
static long long zones(const char *word, const char *other)
{
	long long pages = 0, n;
	char line[256], name[64];
	FILE *f = fopen("/proc/zoneinfo", "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %63s %lld", name, &n) == 2 &&
		    (!strcmp(name, word) || !strcmp(name, other)))
			pages += n;
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static long long free_pages(void)
{
	return zones("nr_free_pages", "count:");
}

static void protect(void)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "w");

	if (f) {
		fputs("-1000", f);
		fclose(f);
	}
}

/* The room is there from the start, its pages come and go chunk by chunk. */
static long long reach(char *room, long long size, long long target)
{
	long long held = 0, left, step;
	double end = now() + SECONDS;
	int calm = 0;

	while (calm < CALM && now() < end) {
		left = free_pages();
		if (left < 0)
			break;
		/* Half of the way at a time, so as not to overshoot. */
		step = (left - target) / 2 / CHUNK * CHUNK;
		if (step < CHUNK)
			step = CHUNK;
		if (left - target >= CHUNK && held + step <= size) {
			if (mlock(room + held, step))
				break;
			held += step;
			calm = 0;
		} else if (target - left >= CHUNK && held) {
			held -= CHUNK;
			munlock(room + held, CHUNK);
			madvise(room + held, CHUNK, MADV_DONTNEED);
			calm = 0;
		} else {
			usleep(LOOK_US);
			calm++;
		}
	}
	return held;
}

int main(int argc, char **argv)
{
	long long target, size, floor;
	char *room, *end;
	int ends[2];
	char text[32];
	ssize_t n;

	target = argc == 2 ? strtoll(argv[1], &end, 10) : 0;
	if (target <= 0 || *end) {
		fprintf(stderr, "usage: hold BYTES\n");
		return 2;
	}
	floor = zones("low", "low");
	if (target < floor)
		target = floor;
	if (pipe(ends)) {
		perror("hold: pipe");
		return 1;
	}
	switch (fork()) {
	case -1:
		perror("hold: fork");
		return 1;
	case 0:
		break;
	default:
		close(ends[1]);
		n = read(ends[0], text, sizeof(text));
		return n > 0 && write(STDOUT_FILENO, text, n) == n ? 0 : 1;
	}

	close(ends[0]);
	close(STDOUT_FILENO);
	setsid();
	protect();
	size = free_pages();
	room = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (size <= 0 || room == MAP_FAILED) {
		perror("hold: memory");
		return 1;
	}
	madvise(room, size, MADV_NOHUGEPAGE);
	if (mlockall(MCL_CURRENT | MCL_ONFAULT))
		perror("hold: mlockall");
	n = snprintf(text, sizeof(text), "%lld\n", reach(room, size, target));
	if (write(ends[1], text, n) != n)
		return 1;
	close(ends[1]);
	for (;;)
		pause();
}
