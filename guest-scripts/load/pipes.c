// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kernel memory that nobody can take back: pipes SIZE [HOLD] [ORDER]
 * Opens pipes until Slab of /proc/meminfo has grown by SIZE, keeps them for
 * HOLD seconds and prints one line. ORDER is that of the allocation which each
 * pipe makes of its own (0 unless given, 3 at most): from 2 on the pages are
 * taken in a row, without a slab. To the OOM killer it is a process like any
 * other, whatever its parent is: what it holds can be had again by killing it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST_PIPES 500000	/* two descriptors each: fs.nr_open is 1048576 */
#define LOOK 64			/* pipes between two looks */

/* Size of a pipe whose array of buffers, of 40 bytes each, has that order. */
static const int size_of_order[] = { 0, 128 << 12, 256 << 12, 512 << 12 };

static long long slab(void)
{
	long long kib = -1;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %lld", &kib) == 1)
			break;
	fclose(f);
	return kib < 0 ? -1 : kib << 10;
}

static void be_ordinary(void)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "w");

	if (f) {
		fputs("0", f);
		fclose(f);
	}
}

static int one_more(int order)
{
	int ends[2];

	if (pipe(ends))
		return -1;
	if (!order || fcntl(ends[0], F_SETPIPE_SZ, size_of_order[order]) >= 0)
		return 0;
	close(ends[0]);
	close(ends[1]);
	return -1;
}

int main(int argc, char **argv)
{
	struct rlimit most = { 2 * MOST_PIPES + 16, 2 * MOST_PIPES + 16 };
	long long size = argc > 1 ? atoll(argv[1]) : 0, before, now;
	int order = argc > 3 ? atoi(argv[3]) : 0;
	const char *result = "ok";
	int count = 0;

	if (size <= 0 || order < 0 || order > 3) {
		fprintf(stderr, "usage: pipes BYTES [HOLD] [ORDER]\n");
		return 2;
	}
	be_ordinary();
	before = slab();
	now = before;
	if (before < 0 || setrlimit(RLIMIT_NOFILE, &most)) {
		printf("pipes: result=error reason=%s\n", strerror(errno));
		return 1;
	}
	while (now - before < size) {
		if (count == MOST_PIPES || one_more(order)) {
			result = count == MOST_PIPES ? "most" : strerror(errno);
			break;
		}
		if (++count % LOOK == 0)
			now = slab();
	}
	printf("pipes: result=%s pipes=%d bytes=%lld\n", result, count, slab() - before);
	fflush(stdout);
	sleep(argc > 2 ? atoi(argv[2]) : 0);
	return strcmp(result, "ok") != 0;
}
