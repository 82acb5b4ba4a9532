// SPDX-License-Identifier: GPL-2.0-only
/*
 * diskrate DEVICE bps|iops LIMIT
 * Reads DEVICE past the page cache for a second and prints how many bytes or
 * reads it served in a second. LIMIT is what it is expected to serve: blocks
 * are so small that several fit into the second, and as long as the throttle
 * still has a burst to spend nothing is counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SMALLEST 4096ULL
#define LARGEST (256 * 1024ULL)
#define WARM_SECONDS 0.3
#define SECONDS 1.0

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	fprintf(stderr, "diskrate: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long long limit, block, reads = 0;
	double begin, start = 0, t;
	off_t at = 0;
	ssize_t got;
	void *buf;
	int fd, bytes;

	if (argc != 4 || (strcmp(argv[2], "bps") && strcmp(argv[2], "iops"))) {
		fprintf(stderr, "usage: diskrate DEVICE bps|iops LIMIT\n");
		return 2;
	}
	bytes = !strcmp(argv[2], "bps");
	limit = strtoull(argv[3], NULL, 10);
	block = bytes ? limit / 64 / SMALLEST * SMALLEST : SMALLEST;
	if (block < SMALLEST)
		block = SMALLEST;
	if (block > LARGEST)
		block = LARGEST;
	fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return fail(argv[1]);
	if (posix_memalign(&buf, SMALLEST, block))
		return fail("memory");
	begin = now();
	for (;;) {
		got = pread(fd, buf, block, at);
		if (got < 0)
			return fail("read");
		t = now();
		at = got == (ssize_t)block ? at + got : 0;
		if (!start) {
			if (t - begin >= WARM_SECONDS)
				start = t;
			continue;
		}
		if (got == (ssize_t)block)
			reads++;
		if (t - start >= SECONDS)
			break;
	}
	printf("%.0f\n", reads * (bytes ? block : 1) / (t - start));
	return 0;
}
