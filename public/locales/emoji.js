// The 64 pictures of the trust code, with a word for each that two people can say on the phone.
//
// Chosen to look and sound unlike one another. Their order is part of the protocol: it must not change.

const LIST = `
🐶 dog 狗|🐱 cat 猫|🐴 horse 马|🐷 pig 猪|🐘 elephant 大象|🐰 rabbit 兔子|🐼 panda 熊猫|🐓 rooster 公鸡
🐧 penguin 企鹅|🐢 turtle 乌龟|🐟 fish 鱼|🐙 octopus 章鱼|🦋 butterfly 蝴蝶|🐝 bee 蜜蜂|🐍 snake 蛇|🦁 lion 狮子
🌷 tulip 郁金香|🌳 tree 大树|🌵 cactus 仙人掌|🍄 mushroom 蘑菇|🌍 globe 地球|🌙 moon 月亮|🌈 rainbow 彩虹|🔥 fire 火
🍌 banana 香蕉|🍎 apple 苹果|🍓 strawberry 草莓|🌽 corn 玉米|🍕 pizza 披萨|🎂 cake 蛋糕|🥕 carrot 胡萝卜|🍉 melon 西瓜
🤖 robot 机器人|🎩 hat 帽子|👓 glasses 眼镜|🔧 wrench 扳手|🎅 Santa 圣诞老人|👍 thumb 大拇指|🌂 umbrella 雨伞|⌛ hourglass 沙漏
⏰ clock 闹钟|🎁 gift 礼物|💡 lamp 灯泡|📕 book 书|✏ pencil 铅笔|📎 clip 回形针|✂ scissors 剪刀|🔒 lock 锁
🔑 key 钥匙|🔨 hammer 锤子|📞 telephone 电话|🏁 flag 旗子|🚂 train 火车|🚲 bicycle 自行车|⛵ sailboat 帆船|🚀 rocket 火箭
🏆 trophy 奖杯|⚽ football 足球|🎸 guitar 吉他|🎺 trumpet 小号|🔔 bell 铃铛|⚓ anchor 船锚|🎈 balloon 气球|🏠 house 房子`;

/** @type {readonly {picture: string, en: string, zh: string}[]} */
export const emoji = LIST.trim().split(/[|\n]/).map((entry) => {
  const [picture, en, zh] = entry.split(' ');
  // Drawn in colour also where a system has a plain form of the sign.
  return { picture: `${picture}\uFE0F`, en, zh };
});
