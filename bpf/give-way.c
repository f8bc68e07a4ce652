/* SPDX-License-Identifier: Apache-2.0 */
#include "give-way.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Idle time of all processors together, percent: below the one it is busy, until it is above the other. */
#define BUSY_BELOW 15
#define CALM_ABOVE 30

/* Ticks of our parent, who reads what we write. */
static unsigned long long reader_ticks(void)
{
	unsigned long long user = 0, system = 0;
	char path[64], text[1024], *at;
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", getppid());
	file = fopen(path, "r");
	if (!file)
		return 0;
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = 0;
	/* Its name may hold anything. */
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		return 0;
	return user + system;
}

bool machine_busy(void)
{
	static unsigned long long idle_before, all_before, reader_before;
	unsigned long long user, nice, system, idle, iowait, irq, softirq, steal, all;
	FILE *file = fopen("/proc/stat", "r");
	static double smooth = 100;
	static bool busy;

	if (!file)
		return busy;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) == 8) {
		unsigned long long reader = reader_ticks(), own = reader > reader_before ? reader - reader_before : 0;
		idle += iowait;
		all = user + nice + system + idle + irq + softirq + steal;
		/* Ticks are coarse: a look at one tenth of a second says little. */
		if (all_before && all > all_before)
			smooth += (100.0 * (idle - idle_before + own) / (all - all_before) - smooth) * 0.4;
		if (smooth < BUSY_BELOW)
			busy = true;
		else if (smooth > CALM_ABOVE)
			busy = false;
		reader_before = reader;
		idle_before = idle;
		all_before = all;
	}
	fclose(file);
	return busy;
}
