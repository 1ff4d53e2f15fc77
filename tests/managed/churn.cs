// SPDX-License-Identifier: MIT
// Allocates 125 MiB in arrays of 64 KiB and keeps the last 12 MiB alive: the garbage collector has
// to commit, collect and decommit all the time.
using System;

class Churn
{
    const int ArrayBytes = 64 * 1024;
    const int Arrays = 125 * 1024 * 1024 / ArrayBytes;
    const int Window = 12 * 1024 * 1024 / ArrayBytes;

    static int Main()
    {
        var window = new byte[Window][];
        long total = 0;
        for (int i = 0; i < Arrays; i++)
        {
            var array = new byte[ArrayBytes];
            array[i % ArrayBytes] = 1; // the page must be real
            window[i % Window] = array;
            total += array.Length;
        }
        int kept = 0;
        foreach (var array in window)
        {
            kept += array.Length;
        }
        Console.WriteLine("allocated {0} KiB, kept {1} KiB, collections {2}/{3}/{4}", total / 1024,
            kept / 1024, GC.CollectionCount(0), GC.CollectionCount(1), GC.CollectionCount(2));
        return 42;
    }
}
