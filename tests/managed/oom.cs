// SPDX-License-Identifier: MIT
// Allocates until an OutOfMemoryException comes, catches it, drops everything and begins again, 100
// times: a refusal must leave the runtime as it was, and every byte must come back.
//
// oom [TIMES]
using System;

public class Oom
{
    class Block
    {
        public Block Next;
        public byte[] Bytes;
    }

    // Small and large objects in turn: the collector keeps them in different segments. Public: a
    // native host calls it by itself.
    public static long Fill()
    {
        Block blocks = null;
        long bytes = 0;
        try
        {
            for (int i = 0; ; i++)
            {
                int size = i % 4 == 3 ? 256 * 1024 : 16 * 1024;
                blocks = new Block { Next = blocks, Bytes = new byte[size] };
                bytes += size;
            }
        }
        catch (OutOfMemoryException)
        {
            return bytes;
        }
    }

    static int Main(string[] args)
    {
        int rounds = args.Length > 0 ? int.Parse(args[0]) : 100;
        long least = long.MaxValue, most = 0;
        int full = 0;
        for (int round = 0; round < rounds; round++)
        {
            long bytes = Fill();
            least = Math.Min(least, bytes);
            most = Math.Max(most, bytes);
            full += bytes >= 50000 * 1024 ? 1 : 0;
        }
        Console.WriteLine("{0} times out of memory after {1} to {2} KiB, {3} times after 50000 or more",
            rounds, least / 1024, most / 1024, full);
        return 42;
    }
}
