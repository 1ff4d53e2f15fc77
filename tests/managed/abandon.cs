// SPDX-License-Identifier: MIT
// Ends, with 7, while another thread starts a program.
//
// abandon MILLISECONDS PROGRAM [ARGUMENTS]: how long the thread has for it
using System;
using System.Diagnostics;
using System.Threading;

class Abandon
{
    static void Main(string[] args)
    {
        var start = new ProcessStartInfo(args[1], string.Join(" ", args, 2, args.Length - 2));
        start.UseShellExecute = false;
        new Thread(() => Process.Start(start)).Start();
        Thread.Sleep(int.Parse(args[0]));
        Environment.Exit(7);
    }
}
