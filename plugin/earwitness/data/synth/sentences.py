"""Everyday sentences for the embedded corpus, written for it, in four languages and three disjoint splits.

Each is short enough for a clip of about 1.5 to 3 seconds. A Japanese line holds the sentence and, after ``|``, its
kana reading: the synthesiser reads kana only. The particle "wa" is spelt わ there, as it sounds.
"""

from __future__ import annotations

from typing import NamedTuple

SPLITS = ("train", "val", "test")
LANGUAGES = ("en", "zh", "ja", "fr")


class Sentence(NamedTuple):
    """``text`` as people write it, and ``reading`` as the synthesiser is given it."""

    text: str
    reading: str


def sentences(language: str, split: str) -> tuple[Sentence, ...]:
    """The sentences of one language (of ``LANGUAGES``) and one split (of ``SPLITS``)."""
    lines = [line.strip() for line in _TEXT[language][split].strip().splitlines()]
    return tuple(Sentence(text, reading or text) for text, _, reading in (line.partition("|") for line in lines))


_TEXT = {
    "en": {
        "train": """
            Please close the window before you leave.
            The train to the coast leaves at nine.
            She bought fresh bread and a bag of apples.
            Can you send me the file by Friday?
            It rained all night and the street is wet.
            My brother plays the piano every evening.
            We forgot the keys on the kitchen table.
            The museum is closed on Mondays.
            He reads the paper with his morning coffee.
            Turn left after the old stone bridge.
            I would like a table for two, please.
            The children are sleeping in the next room.
            Nobody answered the phone this morning.
            Your parcel will arrive before noon.
            They painted the fence a bright green.
            There is a small garden behind the house.
            The soup needs a little more salt.
            Let us meet in front of the library.
            Her new shoes were too tight to wear.
            The bus was late because of the snow.
            I have never seen such a large dog.
            Could you speak a little more slowly?
            The doctor told him to rest for a week.
            We watched the boats come into the harbour.
            This chair is broken, take the other one.
            He found an old letter under the carpet.
            The lights went out during the storm.
            She teaches history at the local school.
            Put the milk back into the fridge.
            The meeting was moved to Thursday afternoon.
            A cold wind blew from the north.
            I lost my umbrella on the way home.
            The baker opens his shop at six.
            We need four more chairs for dinner.
            My phone battery is almost empty.
            They walked along the river until dark.
            The answer was hidden on the last page.
            Do you remember the name of that song?
            The cat is asleep on top of the piano.
            Every seat in the theatre was taken.
            He parked the car behind the station.
            The water is too cold for swimming.
            I will call you back in ten minutes.
            The farmer sold his last three sheep.
            Her voice was calm and very clear.
            You can pay by card at the counter.
            The roses by the gate need water.
            We took the wrong road at the crossing.
            That joke was funnier the first time.
            Bring a warm coat, it may snow tonight.
            The printer has run out of paper.
            Our neighbours have a very noisy rooster.
        """,
        "val": """
            The ticket office is on the second floor.
            Someone left a red scarf on the bench.
            How much does the blue lamp cost?
            The bridge will be repaired next spring.
            I usually cycle to work in summer.
            Grandfather keeps bees behind the barn.
            Please write your name at the top.
            The film was longer than we expected.
            He cut his finger while slicing onions.
            Tomorrow we are visiting my aunt.
        """,
        "test": """
            The elevator stopped between two floors.
            She hums quietly when she is drawing.
            Where did you put the garden scissors?
            Six geese crossed the road in a line.
            The carpenter measured the shelf twice.
            A stranger helped us push the van.
            His flight to Lisbon was cancelled.
            Keep the receipt in case it breaks.
            The tea is still far too hot.
            Our team scored in the final minute.
            There were candles in every window.
            I dreamed about a house by the sea.
            The nurse will be with you shortly.
            Which of these maps is more recent?
            They grow tomatoes on the balcony.
            The bell rings at a quarter past eight.
            Yesterday the lake was completely frozen.
            Nobody noticed the hole in his sleeve.
        """,
    },
    "zh": {
        "train": """
            出门之前请把窗户关好。
            去海边的火车九点开。
            她买了面包和一袋苹果。
            你星期五能把文件发给我吗？
            昨晚下了一夜的雨。
            我哥哥每天晚上弹钢琴。
            我们把钥匙忘在桌子上了。
            博物馆星期一不开门。
            他早上一边喝咖啡一边看报。
            过了石桥以后向左转。
            我想订一张两个人的桌子。
            孩子们在隔壁房间睡觉。
            今天早上没有人接电话。
            您的包裹中午以前会到。
            他们把篱笆刷成了绿色。
            房子后面有一个小花园。
            这个汤还要加一点盐。
            我们在图书馆门口见面吧。
            她的新鞋子太紧了。
            因为下雪公共汽车晚点了。
            我从来没见过这么大的狗。
            请你说得慢一点好吗？
            医生让他休息一个星期。
            我们看着船慢慢进港。
            这把椅子坏了换一把吧。
            他在地毯下面找到一封旧信。
            打雷的时候突然停电了。
            她在学校里教历史。
            请把牛奶放回冰箱里。
            会议改到星期四下午了。
            北边吹来一阵冷风。
            我在回家的路上丢了雨伞。
            面包店早上六点开门。
            晚饭还需要四把椅子。
            我的手机快没有电了。
            他们沿着河一直走到天黑。
            答案藏在最后一页。
            你还记得那首歌的名字吗？
            猫在钢琴上面睡着了。
            剧院里的座位都坐满了。
            他把车停在车站后面。
            水太冷了不能游泳。
            我十分钟以后给你回电话。
            农民卖掉了最后三只羊。
            她的声音平静又清楚。
            您可以在柜台刷卡。
            门口的玫瑰花该浇水了。
            我们在路口走错了方向。
            这个笑话第一次听更好笑。
            带上大衣今晚可能下雪。
            打印机里没有纸了。
            邻居家的公鸡非常吵。
        """,
        "val": """
            售票处在二楼的左边。
            有人把红围巾忘在长椅上。
            这盏蓝色的台灯多少钱？
            这座桥明年春天要修。
            夏天我常常骑车上班。
            爷爷在谷仓后面养蜜蜂。
            请在最上面写下名字。
            电影比我们想的要长。
            他切洋葱的时候切到了手。
            明天我们去看望姑妈。
        """,
        "test": """
            电梯停在两层楼中间了。
            她画画的时候喜欢哼歌。
            你把花园的剪刀放在哪里了？
            六只鹅排着队过马路。
            木匠把架子量了两遍。
            一个陌生人帮我们推车。
            他去北京的航班取消了。
            收好发票万一坏了可以换。
            茶现在还是太烫了。
            我们队在最后一分钟进球了。
            每扇窗户里都点着蜡烛。
            我梦见海边的一座房子。
            护士马上就来看您。
            这两张地图哪张比较新？
            他们在阳台上种西红柿。
            铃声八点一刻会响。
            昨天湖面全都结冰了。
            谁也没看见他袖子上的洞。
        """,
    },
    "ja": {
        "train": """
            出かける前に窓を閉めてください。|でかけるまえに まどを しめてください。
            海へ行く電車は九時に出ます。|うみえ いく でんしゃわ くじに でます。
            彼女はパンとりんごを買いました。|かのじょわ ぱんと りんごを かいました。
            金曜日までに送ってくれますか。|きんようびまでに おくってくれますか。
            ゆうべは一晩中雨が降りました。|ゆうべわ ひとばんじゅう あめが ふりました。
            兄は毎晩ピアノを弾きます。|あにわ まいばん ぴあのを ひきます。
            台所に鍵を忘れました。|だいどころに かぎを わすれました。
            美術館は月曜日が休みです。|びじゅつかんわ げつようびが やすみです。
            父は朝コーヒーを飲みます。|ちちわ あさ こーひーを のみます。
            橋を渡って左に曲がってください。|はしを わたって ひだりに まがってください。
            二人の席をお願いします。|ふたりの せきを おねがいします。
            子供たちは隣の部屋で寝ています。|こどもたちわ となりの へやで ねています。
            今朝は誰も電話に出ませんでした。|けさわ だれも でんわに でませんでした。
            荷物はお昼までに届きます。|にもつわ おひるまでに とどきます。
            塀を緑色に塗りました。|へいを みどりいろに ぬりました。
            家の裏に小さい庭があります。|いえの うらに ちいさい にわが あります。
            スープにもう少し塩を入れてください。|すーぷに もうすこし しおを いれてください。
            図書館の前で会いましょう。|としょかんの まえで あいましょう。
            新しい靴は少しきついです。|あたらしい くつわ すこし きついです。
            雪でバスが遅れました。|ゆきで ばすが おくれました。
            こんな大きい犬は初めて見ました。|こんな おおきい いぬわ はじめて みました。
            もう少しゆっくり話してください。|もうすこし ゆっくり はなしてください。
            一週間休むように言われました。|いっしゅうかん やすむように いわれました。
            港に入る船を見ていました。|みなとに はいる ふねを みていました。
            この椅子は壊れています。|この いすわ こわれています。
            古い手紙を見つけました。|ふるい てがみを みつけました。
            嵐の間に電気が消えました。|あらしの あいだに でんきが きえました。
            姉は学校で歴史を教えています。|あねわ がっこうで れきしを おしえています。
            牛乳を冷蔵庫に戻してください。|ぎゅうにゅうを れいぞうこに もどしてください。
            会議は木曜日の午後になりました。|かいぎわ もくようびの ごごに なりました。
            北から冷たい風が吹いています。|きたから つめたい かぜが ふいています。
            帰り道で傘をなくしました。|かえりみちで かさを なくしました。
            パン屋は朝六時に開きます。|ぱんやわ あさ ろくじに あきます。
            椅子があと四つ必要です。|いすが あと よっつ ひつようです。
            携帯の電池がもうありません。|けいたいの でんちが もう ありません。
            暗くなるまで川を歩きました。|くらくなるまで かわを あるきました。
            答えは最後のページにあります。|こたえわ さいごの ぺーじに あります。
            あの歌の名前を覚えていますか。|あの うたの なまえを おぼえていますか。
            猫がピアノの上で寝ています。|ねこが ぴあのの うえで ねています。
            劇場は満席でした。|げきじょうわ まんせきでした。
            駅の裏に車を止めました。|えきの うらに くるまを とめました。
            水が冷たくて泳げません。|みずが つめたくて およげません。
            十分後にかけ直します。|じゅっぷんごに かけなおします。
            最後の羊を三匹売りました。|さいごの ひつじを さんびき うりました。
            彼女の声はとても静かです。|かのじょの こえわ とても しずかです。
            カードで払うことができます。|かーどで はらうことが できます。
            門の薔薇に水をやってください。|もんの ばらに みずを やってください。
            交差点で道を間違えました。|こうさてんで みちを まちがえました。
            その話は前にも聞きました。|その はなしわ まえにも ききました。
            今夜は雪が降るかもしれません。|こんやわ ゆきが ふるかも しれません。
            プリンターの紙がなくなりました。|ぷりんたーの かみが なくなりました。
            隣の鶏はとてもうるさいです。|となりの にわとりわ とても うるさいです。
        """,
        "val": """
            切符売り場は二階にあります。|きっぷうりばわ にかいに あります。
            誰かが赤いマフラーを忘れました。|だれかが あかい まふらーを わすれました。
            この青いランプはいくらですか。|この あおい らんぷわ いくらですか。
            橋は来年の春に直します。|はしわ らいねんの はるに なおします。
            夏は自転車で会社に行きます。|なつわ じてんしゃで かいしゃに いきます。
            祖父は蜂を飼っています。|そふわ はちを かっています。
            一番上に名前を書いてください。|いちばん うえに なまえを かいてください。
            映画は思ったより長かったです。|えいがわ おもったより ながかったです。
            玉ねぎを切って指を切りました。|たまねぎを きって ゆびを きりました。
            明日叔母の家に行きます。|あした おばの いえに いきます。
        """,
        "test": """
            エレベーターが途中で止まりました。|えれべーたーが とちゅうで とまりました。
            妹は絵を描きながら歌います。|いもうとわ えを かきながら うたいます。
            庭のはさみはどこですか。|にわの はさみわ どこですか。
            六羽のがちょうが道を渡りました。|ろくわの がちょうが みちを わたりました。
            大工さんは棚を二回測りました。|だいくさんわ たなを にかい はかりました。
            知らない人が手伝ってくれました。|しらないひとが てつだってくれました。
            大阪行きの便は欠航です。|おおさかゆきの びんわ けっこうです。
            領収書を取っておいてください。|りょうしゅうしょを とっておいてください。
            お茶はまだ熱すぎます。|おちゃわ まだ あつすぎます。
            最後の一分で点を入れました。|さいごの いっぷんで てんを いれました。
            どの窓にも蝋燭がありました。|どの まどにも ろうそくが ありました。
            海辺の家の夢を見ました。|うみべの いえの ゆめを みました。
            看護師がすぐに参ります。|かんごしが すぐに まいります。
            どちらの地図が新しいですか。|どちらの ちずが あたらしいですか。
            ベランダでトマトを育てています。|べらんだで とまとを そだてています。
            ベルは八時十五分に鳴ります。|べるわ はちじ じゅうごふんに なります。
            昨日は湖が全部凍りました。|きのうわ みずうみが ぜんぶ こおりました。
            袖の穴に誰も気づきませんでした。|そでの あなに だれも きづきませんでした。
        """,
    },
    "fr": {
        "train": """
            Fermez la fenêtre avant de partir.
            Le train pour la côte part à neuf heures.
            Elle a acheté du pain et des pommes.
            Peux-tu m'envoyer le dossier vendredi ?
            Il a plu toute la nuit.
            Mon frère joue du piano chaque soir.
            Nous avons oublié les clés sur la table.
            Le musée est fermé le lundi.
            Il lit le journal en buvant son café.
            Tournez à gauche après le vieux pont.
            Je voudrais une table pour deux.
            Les enfants dorment dans la chambre voisine.
            Personne n'a répondu ce matin.
            Votre colis arrivera avant midi.
            Ils ont peint la clôture en vert.
            Il y a un petit jardin derrière la maison.
            La soupe manque un peu de sel.
            Retrouvons-nous devant la bibliothèque.
            Ses nouvelles chaussures sont trop serrées.
            Le bus est en retard à cause de la neige.
            Je n'ai jamais vu un si grand chien.
            Pouvez-vous parler plus lentement ?
            Le médecin lui a dit de se reposer.
            Nous regardons les bateaux entrer au port.
            Cette chaise est cassée, prenez l'autre.
            Il a trouvé une lettre sous le tapis.
            La lumière s'est éteinte pendant l'orage.
            Elle enseigne l'histoire au lycée.
            Remets le lait dans le frigo.
            La réunion est reportée à jeudi.
            Un vent froid souffle du nord.
            J'ai perdu mon parapluie en rentrant.
            Le boulanger ouvre à six heures.
            Il nous faut encore quatre chaises.
            Mon téléphone est presque déchargé.
            Ils ont marché le long de la rivière.
            La réponse est à la dernière page.
            Te souviens-tu de cette chanson ?
            Le chat dort sur le piano.
            Toutes les places étaient prises.
            Il a garé la voiture derrière la gare.
            L'eau est trop froide pour nager.
            Je vous rappelle dans dix minutes.
            Le fermier a vendu ses trois moutons.
            Sa voix était calme et très claire.
            Vous pouvez payer par carte.
            Les roses du portail ont besoin d'eau.
            Nous avons pris la mauvaise route.
            Cette blague était plus drôle hier.
            Prends un manteau, il va neiger.
            Il n'y a plus de papier dans l'imprimante.
            Le coq des voisins est très bruyant.
        """,
        "val": """
            Le guichet se trouve au deuxième étage.
            Quelqu'un a laissé une écharpe rouge.
            Combien coûte la lampe bleue ?
            Le pont sera réparé au printemps.
            En été, je vais au travail à vélo.
            Grand-père élève des abeilles.
            Écrivez votre nom en haut de la page.
            Le film était plus long que prévu.
            Il s'est coupé en épluchant les oignons.
            Demain, nous rendons visite à ma tante.
        """,
        "test": """
            L'ascenseur s'est arrêté entre deux étages.
            Elle chantonne toujours en dessinant.
            Où as-tu mis le sécateur ?
            Six oies ont traversé en file.
            Le menuisier a mesuré deux fois.
            Un inconnu nous a aidés à pousser.
            Son vol pour Lisbonne est annulé.
            Gardez bien le ticket de caisse.
            Le thé est encore trop chaud.
            Notre équipe a marqué à la fin.
            Des bougies brillaient partout.
            J'ai rêvé d'une maison au bord de la mer.
            L'infirmière arrive tout de suite.
            Laquelle de ces cartes est la plus récente ?
            Ils cultivent des tomates au balcon.
            La cloche sonne à huit heures et quart.
            Hier, le lac était entièrement gelé.
            Nul n'a vu le trou dans sa manche.
        """,
    },
}
