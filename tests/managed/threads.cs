// SPDX-License-Identifier: MIT
// Four threads allocate at once, small and large objects: the memory methods are entered from
// several threads, and thread starts and ends come and go through the heap.
using System;
using System.Threading;

class Threads
{
    const int Rounds = 20000;

    static int failures;

    static void Allocate(object number)
    {
        var kept = new object[256];
        int seed = (int)number;
        for (int i = 0; i < Rounds; i++)
        {
            int size = i % 500 == 0 ? 200 * 1024 : 16 + (seed + i * 37) % 4096;
            var array = new byte[size];
            array[size - 1] = (byte)i;
            kept[i % kept.Length] = array;
        }
        for (int i = 0; i < kept.Length; i++)
        {
            int round = Rounds - kept.Length + i;
            var array = (byte[])kept[round % kept.Length];
            if (array[array.Length - 1] != (byte)round)
            {
                Interlocked.Increment(ref failures);
            }
        }
    }

    static int Main()
    {
        for (int round = 0; round < 4; round++)
        {
            var threads = new Thread[4];
            for (int i = 0; i < threads.Length; i++)
            {
                threads[i] = new Thread(Allocate);
                threads[i].Start(i + 1);
            }
            foreach (var thread in threads)
            {
                thread.Join();
            }
        }
        Console.WriteLine("failures {0}, collections {1}", failures, GC.CollectionCount(0));
        return failures == 0 ? 42 : 1;
    }
}
