/* SPDX-License-Identifier: Apache-2.0 */
/* Reads copies of a Go program that are cut short or have words overwritten. Built with sanitizers: any harm ends it. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "go-binary.h"

static char copy[] = "/tmp/tracehouse-go-XXXXXX";
static int fd;
static double slowest;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static enum go_verdict judge(struct go_binary *binary)
{
	const char *why;
	double begin = now();
	enum go_verdict verdict = go_binary_read(copy, binary, &why);

	if (now() - begin > slowest)
		slowest = now() - begin;
	if (strnlen(binary->version, sizeof(binary->version)) == sizeof(binary->version))
		abort();
	return verdict;
}

int main(int argc, char **argv)
{
	static const uint64_t evil[] = {0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0xfffffffffffffff0, 0xffffffffffffffff};
	static uint8_t bytes[64 << 20];
	struct go_binary binary, whole;
	uint64_t tables[64];
	size_t size = 0, table_count = 0;
	unsigned cuts = 0, writes = 0;
	int source = open(argc > 1 ? argv[1] : "", O_RDONLY);
	ssize_t part;

	fd = mkstemp(copy);
	while (source >= 0 && size < sizeof(bytes) && (part = read(source, bytes + size, sizeof(bytes) - size)) > 0)
		size += part;
	if (fd < 0 || size < 4096 || write(fd, bytes, size) != (ssize_t)size)
		return 1;
	enum go_verdict verdict = judge(&whole);
	printf("whole: %s, %s, calls %s\n", verdict == GO_USABLE ? "usable" : "unusable", whole.version, whole.round_trip ? "found" : "not found");

	/* As if other versions had made it. */
	static const char *const others[] = {"go1.17.0", "go1.99.0", "devel +0", "go2.0rc1"};
	uint8_t *told = memmem(bytes, size, "\xff Go buildinf:", 14);
	for (size_t i = 0; told && i < 4; i++) {
		const char *why;
		if (pwrite(fd, others[i], 8, told + 33 - bytes) != 8)
			return 1;
		verdict = go_binary_read(copy, &binary, &why);
		printf("%s: %s\n", binary.version, verdict == GO_UNUSABLE ? why : binary.guessed ? "as the newest" : "usable");
	}
	if (!told || pwrite(fd, told, 64, told - bytes) != 64)
		return 1;

	/* Every word of the headers, and of the beginning of each section's contents. */
	const Elf64_Ehdr *header = (const void *)bytes;
	const Elf64_Shdr *sections = (const void *)(bytes + header->e_shoff);
	const char *names = (const char *)bytes + sections[header->e_shstrndx].sh_offset;
	tables[table_count++] = 0;
	tables[table_count++] = header->e_shoff + header->e_shstrndx * sizeof(Elf64_Shdr);
	for (unsigned i = 0; i < header->e_shnum && table_count < 62; i++)
		if (strstr(names + sections[i].sh_name, "go") || !strcmp(names + sections[i].sh_name, ".text")) {
			tables[table_count++] = header->e_shoff + i * sizeof(Elf64_Shdr);
			tables[table_count++] = sections[i].sh_offset;
		}
	for (size_t i = 0; i < table_count; i++)
		for (size_t at = tables[i]; at < tables[i] + 96 && at + 8 <= size; at += 4)
			for (size_t j = 0; j < sizeof(evil) / sizeof(evil[0]); j++) {
				for (size_t length = 4; length <= 8; length += 4) {
					if (pwrite(fd, &evil[j], length, at) != (ssize_t)length)
						return 1;
					judge(&binary);
					writes++;
				}
				if (pwrite(fd, bytes + at, 8, at) != 8)
					return 1;
			}
	for (cuts = 0; cuts < 200; cuts++) {
		if (ftruncate(fd, size - size / 200 * (cuts + 1)))
			return 1;
		judge(&binary);
	}
	printf("cut %u, overwritten %u times\nslowest %.1f ms\n", cuts, writes, slowest * 1e3);
	unlink(copy);
	return 0;
}
