// SPDX-License-Identifier: GPL-2.0-only
/*
 * A page-cache load: pagecache read|write FILE SIZE [SECONDS]
 * Reads FILE over and over, or writes SIZE bytes to it and reads them back,
 * for SECONDS (1 unless given). Prints one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static char buf[65536];
	unsigned long long size, done = 0, at;
	double t0 = now(), seconds = argc > 4 ? atof(argv[4]) : 1;
	unsigned int rounds = 0;
	int writing, fd;
	ssize_t n = 0;
	char *end;

	if (argc < 4 || (strcmp(argv[1], "read") && strcmp(argv[1], "write"))) {
		fprintf(stderr, "usage: pagecache read|write FILE SIZE [SECONDS]\n");
		return 2;
	}
	writing = !strcmp(argv[1], "write");
	size = strtoull(argv[3], &end, 0);
	if (*end == 'K' || *end == 'k')
		size <<= 10;
	else if (*end == 'M' || *end == 'm')
		size <<= 20;
	else if (*end == 'G' || *end == 'g')
		size <<= 30;
	fd = open(argv[2], writing ? O_RDWR | O_CREAT : O_RDONLY, 0600);
	if (fd < 0) {
		printf("pagecache: result=error reason=%s\n", strerror(errno));
		return 1;
	}
	memset(buf, 0x5a, sizeof(buf));
	do {
		if (writing && !rounds) {
			lseek(fd, 0, SEEK_SET);
			for (at = 0; at < size; at += n) {
				n = write(fd, buf, sizeof(buf));
				if (n <= 0)
					goto error;
				done += n;
			}
		}
		lseek(fd, 0, SEEK_SET);
		for (at = 0; at < size && now() - t0 < seconds; at += n) {
			n = read(fd, buf, sizeof(buf));
			if (n < 0)
				goto error;
			if (!n)
				break;
			done += n;
		}
		rounds++;
	} while (now() - t0 < seconds);
	printf("pagecache: result=ok bytes=%llu rounds=%u s=%.3f\n", done, rounds, now() - t0);
	return 0;
error:
	printf("pagecache: result=error reason=%s\n", strerror(errno));
	return 1;
}
