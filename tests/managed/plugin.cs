// SPDX-License-Identifier: MIT
// Two workloads one after the other, each with its own threads, as a host of plugins would run them.
// The second fits into the limit only if the memory of the first was really given back, and takes it
// in another form: large arrays after small ones.
//
// plugin MEGABYTES     how much each of the two keeps
using System;
using System.Threading;

class Plugin
{
    static int failures;

    static void Work(int megabytes, int arrayBytes)
    {
        var kept = new byte[megabytes * 1024 * 1024 / arrayBytes][];
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < kept.Length; i++)
            {
                kept[i] = new byte[arrayBytes];
                kept[i][arrayBytes - 1] = (byte)i;
            }
        }
        for (int i = 0; i < kept.Length; i++)
        {
            if (kept[i][arrayBytes - 1] != (byte)i)
            {
                failures++;
            }
        }
    }

    static void Run(string name, int megabytes, int arrayBytes)
    {
        var thread = new Thread(() => Work(megabytes, arrayBytes));
        thread.Start();
        thread.Join();
        Console.WriteLine("{0}: {1} MiB in arrays of {2} KiB", name, megabytes, arrayBytes / 1024);
    }

    static int Main(string[] args)
    {
        int megabytes = int.Parse(args[0]);
        Run("first", megabytes, 4 * 1024);
        Run("second", megabytes, 1024 * 1024);
        return failures == 0 ? 42 : 1;
    }
}
