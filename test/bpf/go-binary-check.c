/* go-binary-check FILE: reads it whole, then cut off and with bytes changed at many places: nothing may crash. Prints what it read first. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../bpf/go-binary.h"

static void try(const char *path, const uint8_t *bytes, size_t size)
{
	struct go_binary binary;
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
		exit(2);
	go_binary_read(path, &binary);
}

int main(int argc, char **argv)
{
	static uint8_t bytes[64 << 20];
	struct go_binary binary;
	char copy[256];
	FILE *file;
	size_t size;

	if (argc < 3 || !(file = fopen(argv[1], "rb")))
		return 2;
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	bool readable = go_binary_read(argv[1], &binary);
	printf("%d %d %s %u %u %llu\n", readable, binary.is_go, binary.version, binary.layout.goid, binary.layout.parent_goid, (unsigned long long)binary.round_trip);
	snprintf(copy, sizeof(copy), "%s", argv[2]);
	for (size_t part = 0; part < 16; part++)
		try(copy, bytes, size * part / 16);
	srand(1);
	/* The headers, the section headers at the end, and the head of the table of functions. */
	size_t table = 0;
	for (size_t at = 4; at + 8 < size && !table; at += 4)
		if (!memcmp(bytes + at, "\xf1\xff\xff\xff\x00\x00\x01\x08", 8))
			table = at;
	for (int round = 0; round < 60; round++) {
		size_t places[] = {rand() % 1024, size - 1 - rand() % 4096, table + rand() % 128, table + rand() % 200000};
		uint8_t before[4];
		for (int i = 0; i < 4; i++) {
			before[i] = bytes[places[i] % size];
			bytes[places[i] % size] = rand();
		}
		try(copy, bytes, size);
		for (int i = 3; i >= 0; i--)
			bytes[places[i] % size] = before[i];
	}
	puts("unharmed");
	return 0;
}
